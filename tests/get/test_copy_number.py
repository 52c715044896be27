"""``get.copy_number``: cells in order, averaged where there are many, by window."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse._record import record


@pytest.fixture
def scored() -> AnnData:
    """Sixty cells with known scores and windows; the first has neither, the second has windows alone."""
    rng = np.random.default_rng(0)
    adata = AnnData(np.ones((60, 2), np.float32))
    adata.obs["kind"] = pd.Categorical(["low"] * 40 + ["high"] * 20)
    score = np.where(adata.obs["kind"] == "high", 9.0, 0.0) + rng.random(60)
    windows = rng.normal(size=(60, 6)).astype(np.float32)
    score[:2], windows[0] = np.nan, np.nan
    adata.obs["scfm_copy_number"] = score.astype(np.float32)
    adata.obsm["X_scfm_copy_number"] = windows
    places = {"window_chromosome": [1, 1, 2, 2, 2, 9], "window_start": [10, 20, 5, 6, 7, 1]}
    record(adata, "copy_number", "scfm", places)
    return adata


def test_rows_stand_by_group_and_falling_score(scored: AnnData) -> None:
    table = scfm.get.copy_number(scored, groupby="kind")
    index = table.index.to_frame(index=False)
    assert list(dict.fromkeys(index["group"])) == ["high", "low"]
    assert index["n_cells"].eq(1).all()
    assert len(table) == 59
    for _, rows in index.groupby("group"):
        assert rows["score"].dropna().is_monotonic_decreasing
    assert np.isnan(index["score"].iloc[-1])
    assert table.columns.tolist() == [(1, 10), (1, 20), (2, 5), (2, 6), (2, 7), (9, 1)]
    best = int(np.nanargmax(scored.obs["scfm_copy_number"]))
    np.testing.assert_array_equal(table.iloc[0], scored.obsm["X_scfm_copy_number"][best])


def test_many_cells_are_averaged_without_loss(scored: AnnData) -> None:
    table = scfm.get.copy_number(scored, groupby="kind", max_rows=12)
    n_cells = table.index.get_level_values("n_cells").to_numpy()
    assert len(table) == 12
    assert n_cells.sum() == 59
    means = (table.to_numpy() * n_cells[:, None]).sum(axis=0) / 59
    np.testing.assert_allclose(means, np.nanmean(scored.obsm["X_scfm_copy_number"], axis=0), atol=1e-6)


def test_small_groups_keep_some_rows(scored: AnnData) -> None:
    scored.obs["rare"] = ["a few"] * 5 + ["rest"] * 55
    table = scfm.get.copy_number(scored, groupby="rare", max_rows=10)
    assert table.index.get_level_values("group").value_counts()["a few"] == 4


def test_types_of_the_annotation_are_the_default_groups(scored: AnnData) -> None:
    assert set(scfm.get.copy_number(scored).index.get_level_values("group")) == {"all cells"}
    scored.obs["scfm_cell_type"] = scored.obs["kind"]
    assert set(scfm.get.copy_number(scored).index.get_level_values("group")) == {"high", "low"}


def test_smallest_of_many_groups_are_joined_and_missing_ones_left_out(scored: AnnData) -> None:
    names = np.array([f"g{i // 2:02d}" for i in range(60)], object)
    names[:10] = "big"
    names[-1] = None
    scored.obs["many"] = names
    groups = scfm.get.copy_number(scored, groupby="many").index.get_level_values("group")
    assert len(set(groups)) == 14
    assert (groups == "other types").sum() == 25
    assert (groups == "big").sum() == 9
    assert len(groups) == 58


def test_missing_numbers_and_columns_are_named(scored: AnnData) -> None:
    with pytest.raises(MissingKeyError, match=r"Run scfm\.tl\.score_copy_number\(adata, key_added='other'\)"):
        scfm.get.copy_number(scored, key="other")
    with pytest.raises(MissingKeyError, match=r"groupby='nope' is not in adata\.obs"):
        scfm.get.copy_number(scored, groupby="nope")
    with pytest.raises(InputError, match="max_rows=0"):
        scfm.get.copy_number(scored, max_rows=0)
    scored.obsm["X_scfm_copy_number"][:] = np.nan
    with pytest.raises(InputError, match="Found no cell with windows"):
        scfm.get.copy_number(scored)
