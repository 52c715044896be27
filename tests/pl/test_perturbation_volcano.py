"""``pl.perturbation_volcano``: distance from the null against the rate of false discoveries."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.pl._perturbation_names import DOWN_COLOR, NEITHER_COLOR, UP_COLOR
from support import screen_table


def draw(table: pd.DataFrame, **how: object) -> Axes:
    ax = scfm.pl.perturbation_volcano(table, show=False, **how)
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    return ax


def points_of(ax: Axes) -> tuple[np.ndarray, np.ndarray]:
    """Places and colours of circles, then triangles."""
    places = np.concatenate([points.get_offsets().data for points in ax.collections])
    return places, np.concatenate([points.get_facecolors() for points in ax.collections])


def names_on(ax: Axes) -> set[str]:
    return {text.get_text() for text in ax.texts if not text.get_text().startswith("FDR")}


def test_points_stand_at_excess_and_rate() -> None:
    table = screen_table()
    tested = table[table["status"] == "tested"].iloc[1:]
    places, _ = points_of(draw(table))
    expected = np.column_stack([tested["score"] - tested["null_mean"], -np.log10(tested["fdr"])])
    np.testing.assert_allclose(places[:-1], expected, rtol=1e-9)


def test_rate_of_zero_is_a_triangle_above_all_others() -> None:
    ax = draw(screen_table())
    circles, triangles = ax.collections
    assert len(triangles.get_offsets()) == 1
    assert circles.get_offsets()[:, 1].max() < triangles.get_offsets()[0, 1] <= ax.get_ylim()[1]
    only = screen_table().assign(fdr=0.0)
    assert np.isfinite(points_of(draw(only))[0]).all()


def test_rates_of_one_alone_are_drawn() -> None:
    ax = draw(screen_table().assign(fdr=1.0))
    assert ax.get_ylim()[1] > -np.log10(0.05)
    assert names_on(ax) == set()


def test_colours_tell_sign_and_significance_and_are_counted() -> None:
    ax = draw(screen_table())
    places, colors = points_of(ax)
    significant = places[:, 1] > -np.log10(0.05)
    expected = np.where(significant, np.where(places[:, 0] > 0, UP_COLOR, DOWN_COLOR), NEITHER_COLOR)
    np.testing.assert_allclose(colors[:, :3], [to_rgba(color)[:3] for color in expected])
    listed = [text.get_text() for text in ax.get_legend().get_texts()]
    assert listed == ["above (2)", "below (2)", "not significant (43)"]


def test_significant_points_have_names_with_their_group_where_there_are_several() -> None:
    assert names_on(draw(screen_table())) == {
        f"{gene}, {group}" for gene in ("ACTB", "B2M") for group in ("T cell", "B cell")
    }
    assert names_on(draw(screen_table(), group="T cell")) == {"ACTB", "B2M"}
    assert names_on(draw(screen_table(), n_labels=0)) == set()


def test_given_axes_are_drawn_into() -> None:
    _, (left, right) = plt.subplots(1, 2, figsize=(7, 2.5))
    assert scfm.pl.perturbation_volcano(screen_table(), ax=right) is right
    assert not left.collections
    assert names_on(right)


def test_screen_without_nulls_is_an_error() -> None:
    with pytest.raises(InputError, match="no perturbation with a null_mean"):
        draw(screen_table().assign(null_mean=np.nan))
