"""Colours: the user's stay, ours differ, unknown is grey, names can be read."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import scfm_scverse as scfm
from scfm_scverse.pl._palettes import MALIGNANT_COLOR, PALETTE, UNKNOWN_COLOR, category_colors, readable

SLOT = "scfm_cell_type_colors"


def column(adata: AnnData) -> pd.Categorical:
    return pd.Categorical(adata.obs["scfm_cell_type"])


def contrast_on_white(color: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def test_palette_holds_forty_different_colours_that_stand_out_from_the_greys() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 40
    assert all(np.ptp(to_rgb(color)) > 0.1 for color in PALETTE)


def test_colours_of_the_user_are_drawn_and_kept(cells: AnnData) -> None:
    mine = ["#ff0000", "#00ff00", "#0000ff", "#111111"]
    cells.uns[SLOT] = np.array(mine)
    ax = scfm.pl.embedding(cells, basis="flat", color="scfm_cell_type", show=False)
    assert list(cells.uns[SLOT]) == mine
    drawn = {tuple(color[:3]) for color in ax.collections[0].get_facecolors()}
    assert drawn == {to_rgb(color) for color in mine}


@pytest.mark.parametrize("there", [None, ["#ff0000"]])
def test_colours_are_written_where_absent_or_of_wrong_length(cells: AnnData, there: list[str] | None) -> None:
    if there is not None:
        cells.uns[SLOT] = there
    scfm.pl.annotation(cells, basis="flat", show=False)
    written = dict(zip(cells.obs["scfm_cell_type"].cat.categories, cells.uns[SLOT], strict=True))
    assert written.pop("unknown") == UNKNOWN_COLOR
    assert set(written.values()) == set(PALETTE[:3])


def test_numerous_categories_get_the_first_colours(cells: AnnData) -> None:
    values = pd.Categorical(
        ["b"] * 3 + ["unknown"] * 9 + ["a"] * 5 + ["c"] * 3, categories=["a", "b", "c", "unknown", "d"]
    )
    colors = category_colors(cells, "x", values)
    assert colors == {"a": PALETTE[0], "b": PALETTE[1], "c": PALETTE[2], "unknown": UNKNOWN_COLOR, "d": PALETTE[3]}


def test_more_categories_than_colours_begin_again(cells: AnnData) -> None:
    values = pd.Categorical([f"type {i:02d}" for i in range(45)])
    assert list(category_colors(cells, "x", values).values()) == PALETTE + PALETTE[:5]


def test_view_gets_nothing_written(cells: AnnData) -> None:
    view = cells[:50]
    scfm.pl.embedding(view, basis="flat", color="scfm_cell_type", show=False)
    assert view.is_view
    assert SLOT not in cells.uns
    assert SLOT not in view.uns


@given(st.tuples(*[st.integers(0, 255)] * 3).map(lambda rgb: "#{:02x}{:02x}{:02x}".format(*rgb)))
def test_names_can_be_read_on_white_and_dark_colours_stay(color: str) -> None:
    ink = readable(color)
    # Colours have 256 steps, hence the tolerance.
    assert contrast_on_white(ink) > 4.45
    if contrast_on_white(color) > 4.5:
        assert ink == color


def test_malignant_cells_are_black_and_take_no_colour_from_others(cells: AnnData) -> None:
    values = pd.Categorical(["malignant"] * 9 + ["a"] * 5 + ["unknown"] * 3 + ["b"])
    colors = category_colors(cells, "x", values)
    assert colors == {"a": PALETTE[0], "b": PALETTE[1], "malignant": MALIGNANT_COLOR, "unknown": UNKNOWN_COLOR}
