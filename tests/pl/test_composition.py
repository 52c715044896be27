"""``pl.composition``: bars of a hundred per cent in the colours of the map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from support import annotated_by_hand


def draw(adata: AnnData) -> Axes:
    ax = scfm.pl.composition(adata, groupby="sample", show=False)
    assert isinstance(ax, Axes)
    return ax


def listed(ax: Axes) -> list[str]:
    return [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]


def test_bars_of_a_sample_add_up_to_one() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = pd.Categorical(np.where(np.arange(adata.n_obs) < 20, "a/b", "c"))
    ax = draw(adata)
    table = scfm.get.composition(adata, groupby="sample").pivot(index="group", columns="cell_type", values="share")
    for name, bars in zip(listed(ax), ax.containers, strict=True):
        assert [bar.get_width() for bar in bars] == table[name].tolist()
    assert ax.get_xlim() == (0, 1)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["a/b (20)", "c (40)"]


def test_samples_stand_in_the_order_of_their_categories_from_the_top() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = adata.obs["sample"].cat.reorder_categories(["s2", "s0", "s1"])
    ax = draw(adata)
    assert [tick.get_text() for tick in ax.get_yticklabels()] == ["s2 (20)", "s0 (20)", "s1 (20)"]
    assert ax.yaxis_inverted()


def test_colours_are_those_of_the_map() -> None:
    adata = annotated_by_hand()
    scfm.pl.annotation(adata, show=False)
    colors = dict(zip(adata.obs["scfm_cell_type"].cat.categories, adata.uns["scfm_cell_type_colors"], strict=True))
    ax = draw(adata)
    for name, bars in zip(listed(ax), ax.containers, strict=True):
        assert bars[0].get_facecolor()[:3] == to_rgb(colors[name])


def test_rare_types_are_drawn_together_and_counted() -> None:
    adata = annotated_by_hand({f"type {i:02d}": "unknown" for i in range(30)}, per_label=4)
    assert listed(draw(adata))[-1] == "10 other types"
    few = [f"type {i:02d}" for i in range(3)]
    adata = annotated_by_hand(dict.fromkeys(few, "unknown"), per_label=200)
    adata.obs["scfm_cell_type"] = pd.Categorical(["type 00"] * 596 + ["type 01"] * 2 + ["type 02"] * 2)
    adata.obs["sample"] = "one"
    ax = draw(adata)
    assert listed(ax) == ["type 00", "2 other types"]
    assert ax.containers[-1][0].get_width() == pytest.approx(4 / 600)


def test_one_sample_is_drawn() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = "the only one"
    fig = scfm.pl.composition(adata, groupby="sample", return_fig=True)
    assert isinstance(fig, Figure)
    box, (width, height) = fig.get_tightbbox(), fig.get_size_inches()
    assert 0 <= box.x0 < box.x1 <= width
    assert 0 <= box.y0 < box.y1 <= height


def test_missing_column_is_an_error() -> None:
    with pytest.raises(MissingKeyError, match="groupby='donor'"):
        scfm.pl.composition(annotated_by_hand(), groupby="donor")
