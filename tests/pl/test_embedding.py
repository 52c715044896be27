"""``pl.embedding``: what is drawn where, in which colour, and how it is explained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.pl._palettes import MISSING_COLOR


def draw(cells: AnnData, **arguments: object) -> Axes:
    ax = scfm.pl.embedding(cells, basis="flat", show=False, **arguments)
    assert isinstance(ax, Axes)
    ax.figure.canvas.draw()
    return ax


def colors_of_cells(cells: AnnData, ax: Axes) -> np.ndarray:
    """Colour of each cell that has a place, in the order of the cells."""
    points = ax.collections[0]
    at = {tuple(xy): color for xy, color in zip(points.get_offsets().data, points.get_facecolors(), strict=True)}
    return np.array([at[tuple(xy)] for xy in cells.obsm["X_flat"][:-2].astype(float)])


def test_cells_stand_where_the_map_says(cells: AnnData) -> None:
    for color in (None, "scfm_cell_type", "scfm_confidence"):
        offsets = draw(cells, color=color).collections[0].get_offsets().data
        seen = offsets[np.isfinite(offsets).all(axis=1)]
        expected = cells.obsm["X_flat"][:-2].astype(float)
        np.testing.assert_array_equal(np.sort(seen, axis=0), np.sort(expected, axis=0))


def test_categories_are_coloured_and_listed_in_their_order(cells: AnnData) -> None:
    cells.obs["scfm_cell_type"] = cells.obs["scfm_cell_type"].cat.reorder_categories(
        list(cells.obs["scfm_cell_type"].cat.categories[::-1])
    )
    ax = draw(cells, color="scfm_cell_type")
    colors = dict(zip(cells.obs["scfm_cell_type"].cat.categories, cells.uns["scfm_cell_type_colors"], strict=True))
    expected = [to_rgb(colors[label]) for label in cells.obs["scfm_cell_type"][:-2]]
    np.testing.assert_allclose(colors_of_cells(cells, ax)[:, :3], expected)
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == list(colors)
    assert [handle.get_color() for handle in legend.legend_handles] == list(colors.values())
    assert ax.get_title(loc="left") == "scfm_cell_type"


def test_names_stand_on_the_map_on_request(cells: AnnData) -> None:
    ax = draw(cells, color="scfm_cell_type", legend_loc="on data", title="types")
    assert {text.get_text().replace("\n", " ") for text in ax.texts} == set(cells.obs["scfm_cell_type"])
    assert ax.get_legend() is None
    assert ax.get_title(loc="left") == "types"


def test_high_values_lie_on_top_and_missing_ones_in_grey_below(cells: AnnData) -> None:
    cells.obs.loc[cells.obs_names[:10], "scfm_confidence"] = np.nan
    ax = draw(cells, color="scfm_confidence")
    points = ax.collections[0]
    drawn = np.ma.filled(points.get_array().astype(float), np.nan)
    assert np.isnan(drawn[:12]).all()
    assert (np.diff(drawn[12:]) >= 0).all()
    np.testing.assert_allclose(points.get_facecolors()[0][:3], to_rgb(MISSING_COLOR), atol=0.01)
    assert points.get_clim() == pytest.approx((drawn[12], drawn[-1]))
    assert points.colorbar is not None


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (lambda n: np.arange(n) % 2 == 0, ["False", "True"]),
        (lambda n: np.resize(np.array(["x", "y", None], object), n), ["x", "y"]),
        (lambda n: pd.Categorical(np.resize([10, 2], n)), ["2", "10"]),
        (lambda n: pd.array(np.resize(["x", "y"], n), dtype="string"), ["x", "y"]),
    ],
    ids=["flags", "strings", "numbers as categories", "nullable strings"],
)
def test_columns_that_are_no_numbers_are_categories(cells: AnnData, values: object, names: list[str]) -> None:
    cells.obs["column"] = values(cells.n_obs)  # type: ignore[operator]
    ax = draw(cells, color="column")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == names
    if cells.obs["column"].isna().any():
        missing = cells.obs["column"].isna().to_numpy()[:-2]
        np.testing.assert_allclose(colors_of_cells(cells, ax)[missing, :3], [to_rgb(MISSING_COLOR)] * missing.sum())


@pytest.mark.parametrize("values", [np.nan, 5, np.inf], ids=["all missing", "constant", "infinite"])
def test_numbers_without_a_range_are_drawn(cells: AnnData, values: float) -> None:
    cells.obs["column"] = values
    assert len(draw(cells, color="column").collections) == 1


def test_nullable_numbers_are_numbers(cells: AnnData) -> None:
    cells.obs["column"] = pd.array([None, *range(cells.n_obs - 1)], dtype="Int64")
    assert draw(cells, color="column").collections[0].get_clim() == (0, cells.n_obs - 2)


def test_points_are_pixels_and_smaller_for_more_cells(many: Callable[[int], AnnData]) -> None:
    few = draw(many(40)).collections[0]
    crowd = draw(many(30_000)).collections[0]
    assert few.get_rasterized()
    assert crowd.get_sizes()[0] < few.get_sizes()[0]
    assert draw(many(40), size=7.0).collections[0].get_sizes() == [7.0]


def test_unused_categories_are_not_listed(cells: AnnData) -> None:
    ax = draw(cells[:30].copy(), color="scfm_cell_type")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["B cell"]


def test_column_that_is_missing_names_those_that_are_there(cells: AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"color='louvain'.*'scfm_cell_type', 'scfm_cell_type_fine'"):
        scfm.pl.embedding(cells, basis="flat", color="louvain")


def test_unknown_place_of_the_legend_names_the_known_ones(cells: AnnData) -> None:
    with pytest.raises(InputError, match=r"legend_loc='top'.*'right margin', 'on data'"):
        scfm.pl.embedding(cells, basis="flat", color="scfm_cell_type", legend_loc="top")  # type: ignore[arg-type]
