"""``pl.perturbation_heatmap``: excess over the null by group and dose, untested entries left empty."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.get._perturbations import excess_matrix, screen_rows
from support import screen_table


def draw(table: pd.DataFrame, **how: object) -> Axes:
    ax = scfm.pl.perturbation_heatmap(table, show=False, **how)
    assert isinstance(ax, Axes)
    return ax


def mesh_of(ax: Axes) -> QuadMesh:
    (mesh,) = (artist for artist in ax.collections if isinstance(artist, QuadMesh))
    return mesh


def listed(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def columns_of(ax: Axes) -> list[str]:
    return [tick.get_text().replace("\n", " ") for tick in ax.get_xticklabels()]


def test_entries_are_those_of_the_matrix_and_zero_is_in_the_middle() -> None:
    table = screen_table()
    ax = draw(table, n_top=30)
    expected = excess_matrix(screen_rows(table, key="scfm", group=None, with_null=True), "excess", 30)
    drawn = mesh_of(ax).get_array().reshape(expected.shape)
    np.testing.assert_allclose(np.ma.filled(drawn, np.nan), expected)
    low, high = mesh_of(ax).get_clim()
    assert low == -high < 0
    assert [tick.get_text() for tick in ax.get_yticklabels()] == expected.index.tolist()
    assert ax.yaxis_inverted()


def test_untested_entries_are_empty_over_hatching() -> None:
    ax = draw(screen_table(), n_top=30)
    drawn = mesh_of(ax).get_array()
    assert np.ma.getmaskarray(drawn).sum() == 1
    assert ax.patches[0].get_hatch()
    assert ax.patches[0].get_zorder() < mesh_of(ax).get_zorder()
    assert listed(ax) == ["FDR < 0.05", "not tested"]
    assert listed(draw(screen_table(), group="T cell")) == ["FDR < 0.05"]


def test_dots_stand_on_significant_entries() -> None:
    table = screen_table()
    ax = draw(table, n_top=10)
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    (dots,) = (artist for artist in ax.collections if not isinstance(artist, QuadMesh))
    found = {(names[int(y)], int(x)) for x, y in dots.get_offsets()}
    assert found == {(gene, column) for gene in ("ACTB", "B2M") for column in (0, 1)}


def test_columns_tell_group_and_cells() -> None:
    table = screen_table({"T cell": 1200, "B cell": 25})
    table["n_cells"] = np.where(table["group"] == "T cell", 1200, table["n_cells"])
    tested = table.loc[(table["group"] == "B cell") & (table["status"] == "tested"), "n_cells"]
    assert columns_of(draw(table)) == ["T cell (1,200)", f"B cell ({tested.min()}–{tested.max()})"]


def test_doses_of_one_group_are_columns() -> None:
    table = pd.concat([screen_table({"all": 30}).assign(dose=dose, n_cells=30) for dose in (1.0, 0.5)])
    assert columns_of(draw(table)) == ["dose 0.5 (30)", "dose 1 (30)"]
    both = pd.concat([screen_table().assign(dose=dose, n_cells=30) for dose in (1.0, 0.5)])
    assert columns_of(draw(both))[:2] == ["T cell, dose 0.5 (30)", "T cell, dose 1 (30)"]


def test_one_perturbation_is_drawn() -> None:
    ax = draw(screen_table().head(1))
    assert len(ax.get_yticks()) == 1


def test_all_that_is_drawn_is_on_the_figure() -> None:
    for table in (screen_table(), screen_table({f"a long name of a cell type {i}": 30 for i in range(9)})):
        fig = scfm.pl.perturbation_heatmap(table, return_fig=True)
        assert isinstance(fig, Figure)
        width, height = fig.get_size_inches()
        box = fig.get_tightbbox()
        assert 0 <= box.x0 < box.x1 <= width <= 7.2
        assert 0 <= box.y0 < box.y1 <= height


def test_given_axes_are_drawn_into() -> None:
    _, ax = plt.subplots(figsize=(3, 4))
    assert scfm.pl.perturbation_heatmap(screen_table(), ax=ax) is ax
    assert mesh_of(ax)


def test_nothing_to_show_is_an_error() -> None:
    with pytest.raises(InputError, match="n_top=0; expected 1 at least"):
        draw(screen_table(), n_top=0)
    with pytest.raises(InputError, match=r"Found group='NK cell'"):
        draw(screen_table(), group="NK cell")
