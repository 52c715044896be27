"""Types of each sample: every pair once, shares of one sample, missing samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError
from support import annotated_by_hand


def test_every_pair_stands_once_with_its_cells() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = pd.Categorical(np.where(adata.obs["scfm_cell_type"] == "T cell", "x", "a"), ["x", "a", "-"])
    table = scfm.get.composition(adata, groupby="sample")
    assert list(table.columns) == ["group", "cell_type", "n_cells", "share"]
    assert not table.duplicated(["group", "cell_type"]).any()
    cells = table.set_index(["group", "cell_type"])
    assert cells["n_cells"].sum() == adata.n_obs
    assert cells.loc[("x", "T cell")].tolist() == [15, 1]
    assert cells.loc[("a", "T cell")].tolist() == [0, 0]
    np.testing.assert_allclose(table.groupby("group")["share"].sum(), 1)


def test_groups_keep_the_order_of_their_categories_and_unknown_is_last() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = adata.obs["sample"].cat.reorder_categories(["s2", "s0", "s1"])
    table = scfm.get.composition(adata, groupby="sample")
    assert list(table["group"].unique()) == ["s2", "s0", "s1"]
    assert list(table["cell_type"].unique()) == list(scfm.get.cell_types(adata).index)
    assert table["cell_type"].iloc[-1] == "unknown"


def test_one_sample_is_enough() -> None:
    adata = annotated_by_hand()
    adata.obs["sample"] = "the only one"
    assert scfm.get.composition(adata, groupby="sample")["share"].tolist() == [0.25] * 4


def test_missing_column_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(MissingKeyError, match=r"groupby='donor' is not in adata\.obs; its columns are .*'sample'"):
        scfm.get.composition(annotated_by_hand(), groupby="donor")
