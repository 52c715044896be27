"""The user's labels against ours: counts, order, agreement along the ontology, and what cannot be compared."""

from __future__ import annotations

import logging

import numpy as np
import pandas as pd
import pytest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.get._confusion import agreeing
from support import annotated_by_hand


def test_every_cell_is_counted_under_both_labels() -> None:
    adata = annotated_by_hand()
    table = scfm.get.confusion(adata, labels_key="mine")
    assert table.index.name == "mine"
    assert table.at["B cell", "B cell"] == 15
    assert table.at["B cell", "unknown"] == 15
    assert table.at["T cell", "B cell"] == 0
    assert table.to_numpy().sum() == adata.n_obs


def test_cells_gather_along_the_diagonal_and_unknown_is_last() -> None:
    names = {f"type {i}": "unknown" for i in range(9)} | {"unknown": "unknown"}
    adata = annotated_by_hand(names)
    # Each label of the user is spread over a type of ours and the next one.
    own = np.array([int(name[-1]) if name != "unknown" else 0 for name in adata.obs["scfm_cell_type"]])
    shifted = np.where(np.arange(adata.n_obs) % 3 == 0, np.minimum(own + 1, 8), own)
    adata.obs["mine"] = [f"{'hgdaecbif'[i]}" for i in shifted]
    table = scfm.get.confusion(adata, labels_key="mine")
    assert table.columns[-1] == "unknown"
    rows, columns = np.nonzero(table.iloc[:, :-1].to_numpy())
    assert np.abs(rows - columns).max() <= 1


def test_cells_without_a_label_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].where(np.arange(adata.n_obs) >= 10)
    with caplog.at_level(logging.INFO, logger="scfm"):
        table = scfm.get.confusion(adata, labels_key="mine")
    assert table.to_numpy().sum() == adata.n_obs - 10
    assert "10 of 60 cells have no value in obs['mine']" in caplog.text


def test_numbers_are_labels_too() -> None:
    adata = annotated_by_hand()
    adata.obs["cluster"] = np.arange(adata.n_obs) // 15
    assert sorted(scfm.get.confusion(adata, labels_key="cluster").index) == ["0", "1", "2", "3"]


def test_missing_column_is_an_error_that_lists_the_columns() -> None:
    with pytest.raises(MissingKeyError, match=r"labels_key='mime' is not in adata\.obs; its columns are .*'mine'"):
        scfm.get.confusion(annotated_by_hand(), labels_key="mime")


def test_column_without_any_value_is_an_error() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = np.nan
    with pytest.raises(InputError, match=r"no value in adata\.obs\['mine'\].*pass another labels_key="):
        scfm.get.confusion(adata, labels_key="mine")


def test_no_cell_with_both_labels_is_an_error() -> None:
    adata = annotated_by_hand()
    half = np.arange(adata.n_obs) < 30
    adata.obs["mine"] = adata.obs["mine"].where(half)
    adata.obs["scfm_cell_type"] = adata.obs["scfm_cell_type"].where(~half)
    with pytest.raises(InputError, match="no cell with both a label"):
        scfm.get.confusion(adata, labels_key="mine")


def test_agreement_follows_the_ontology() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].cat.rename_categories({"T cell": "lymphocyte", "B cell": "naive B cell"})
    agree = agreeing(adata, scfm.get.confusion(adata, labels_key="mine"), key="scfm", ontology_key=None)
    assert agree.at["naive B cell", "B cell"]  # ours holds theirs
    assert agree.at["lymphocyte", "T cell"]  # theirs holds ours
    assert agree.at["lymphocyte", "B cell"]
    assert not agree.at["naive B cell", "T cell"]
    assert not agree["unknown"].any()


def test_agreement_by_ids_needs_no_names() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].cat.rename_categories({"T cell": "c/1", "B cell": "c/2"})
    adata.obs["term"] = pd.Categorical(np.where(adata.obs["mine"] == "c/1", "CL:0000084", "CL:0000236"))
    table = scfm.get.confusion(adata, labels_key="mine")
    assert not agreeing(adata, table, key="scfm", ontology_key=None).loc["c/1"].any()
    agree = agreeing(adata, table, key="scfm", ontology_key="term")
    assert agree.at["c/1", "T cell"]
    assert not agree.at["c/1", "B cell"]


def test_labels_of_several_kinds_stand_side_by_side() -> None:
    adata = annotated_by_hand()
    adata.obs["mixed"] = np.array([7, "seven"], dtype=object)[np.arange(adata.n_obs) % 2]
    table = scfm.get.confusion(adata, labels_key="mixed")
    assert sorted(table.index) == ["7", "seven"]
    assert table.to_numpy().sum() == adata.n_obs
