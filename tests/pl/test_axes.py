"""What a plot hands back, and what it does to axes that are given."""

from __future__ import annotations

from unittest.mock import Mock

import matplotlib.pyplot as plt
import numpy as np
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse.pl._axes import grow


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Mock:
    show = Mock()
    monkeypatch.setattr(plt, "show", show)
    return show


def test_return_type_follows_the_arguments(cells: AnnData, shown: Mock) -> None:
    assert isinstance(scfm.pl.embedding(cells, basis="flat", return_fig=True), Figure)
    assert isinstance(scfm.pl.embedding(cells, basis="flat", show=False), Axes)
    assert isinstance(scfm.pl.annotation(cells, basis="flat", return_fig=True), Figure)
    panels = scfm.pl.annotation(cells, basis="flat", show=False)
    assert list(panels) == ["cell_type", "confidence", "unknown_score"]
    assert all(isinstance(ax, Axes) for ax in panels.values())
    shown.assert_not_called()


def test_figure_is_shown_on_request_and_nothing_returned(cells: AnnData, shown: Mock) -> None:
    assert scfm.pl.embedding(cells, basis="flat", show=True) is None
    shown.assert_called_once_with()


@pytest.mark.parametrize(("backend", "times"), [("agg", 0), ("module://matplotlib_inline.backend_inline", 1)])
def test_figure_is_shown_where_something_can_show_it(
    cells: AnnData, shown: Mock, monkeypatch: pytest.MonkeyPatch, backend: str, times: int
) -> None:
    monkeypatch.setattr("scfm_scverse.pl._axes.get_backend", lambda: backend)
    assert scfm.pl.annotation(cells, basis="flat") is None
    assert shown.call_count == times


def test_given_axes_are_drawn_into_and_not_shown(cells: AnnData, shown: Mock) -> None:
    fig, (left, right) = plt.subplots(1, 2)
    size = fig.get_size_inches()
    assert scfm.pl.embedding(cells, basis="flat", color="scfm_confidence", ax=right) is right
    assert scfm.pl.embedding(cells, basis="flat", ax=left, return_fig=True) is fig
    assert len(left.collections) == len(right.collections) == 1
    np.testing.assert_array_equal(fig.get_size_inches(), size)
    shown.assert_not_called()


def test_axes_inside_a_subfigure_lead_to_the_whole_figure(cells: AnnData) -> None:
    fig = plt.figure()
    ax = fig.subfigures(1, 2)[0].subplots()
    assert scfm.pl.embedding(cells, basis="flat", ax=ax, return_fig=True) is fig


def test_map_has_two_spines_equal_scales_and_no_ticks(cells: AnnData) -> None:
    ax = scfm.pl.embedding(cells, basis="flat", show=False)
    assert [name for name, spine in ax.spines.items() if spine.get_visible()] == ["left", "bottom"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("flat 1", "flat 2")
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0
    assert np.ptp(ax.get_xlim()) == pytest.approx(np.ptp(ax.get_ylim()))
    xy = cells.obsm["X_flat"][:-2]
    assert (xy > [ax.get_xlim()[0], ax.get_ylim()[0]]).all()
    assert (xy < [ax.get_xlim()[1], ax.get_ylim()[1]]).all()


def test_growing_a_figure_leaves_axes_where_they_are() -> None:
    fig = plt.figure(figsize=(4, 3))
    ax = fig.add_axes((0.25, 0.5, 0.5, 0.25))
    grow(fig, right=2, down=1)
    np.testing.assert_allclose(fig.get_size_inches(), (6, 4))
    np.testing.assert_allclose(ax.get_position().bounds, (1 / 6, 2.5 / 4, 2 / 6, 0.75 / 4))


def test_legends_and_colour_bars_lie_inside_the_figure(cells: AnnData) -> None:
    for color in ("scfm_cell_type", "scfm_confidence"):
        fig = scfm.pl.embedding(cells, basis="flat", color=color, return_fig=True)
        across, up = fig.get_size_inches()
        box = fig.get_tightbbox()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= across
        assert box.y1 <= up
