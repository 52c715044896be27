"""``pl.prediction_sets``: how large sets are and what stays together."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes

import scfm_scverse as scfm
from support import annotated_by_hand


def test_bars_are_shares_of_sizes_and_cells_of_pairs() -> None:
    adata = annotated_by_hand()
    axes = scfm.pl.prediction_sets(adata, show=False)
    assert isinstance(axes, dict)
    sizes, pairs = scfm.get.prediction_sets(adata), scfm.get.prediction_sets(adata, by="pair")
    heights = [bar.get_height() for bar in axes["sizes"].containers[0]]
    assert heights == pytest.approx((100 * sizes["share"]).tolist())
    widths = [bar.get_width() for bar in axes["pairs"].containers[0]]
    assert widths == pytest.approx((100 * pairs["share"]).tolist())
    names = [tick.get_text().replace("\n", " ") for tick in axes["pairs"].get_yticklabels()]
    assert names == [f"{one} + {other}" for one, other in zip(pairs["label"], pairs["other"], strict=True)]
    note = axes["sizes"].get_xlabel()
    assert "stated error rate 10%" in note
    assert "top class forced in: 2.0%" in note


def test_large_sets_share_the_last_bar() -> None:
    adata = annotated_by_hand()
    many = "|".join(f"T/{i}" for i in range(20))
    adata.obs["scfm_prediction_set"] = pd.Categorical(np.where(np.arange(adata.n_obs) < 30, many, "T/0"))
    axes = scfm.pl.prediction_sets(adata, show=False)
    ticks = [tick.get_text() for tick in axes["sizes"].get_xticklabels()]
    assert (ticks[0], ticks[-1]) == ("1", "8+")
    assert len(axes["pairs"].containers[0]) == 10


def test_sets_of_one_class_have_no_pairs_and_are_drawn() -> None:
    adata = annotated_by_hand()
    adata.obs["scfm_prediction_set"] = adata.obs["scfm_cell_type_fine"]
    axes = scfm.pl.prediction_sets(adata, show=False)
    assert isinstance(axes["pairs"], Axes)
    assert axes["pairs"].get_yticklabels() == []


def test_names_of_pairs_do_not_cover_the_other_panel() -> None:
    axes = scfm.pl.prediction_sets(annotated_by_hand(), show=False)
    assert axes["sizes"].get_tightbbox().x1 <= axes["pairs"].get_tightbbox().x0
