"""Tables of what was written: every cell, every label, and a clear error where nothing was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import MissingKeyError

Annotated = Callable[[], AnnData]


def test_annotation_is_what_the_columns_hold(annotated: Annotated) -> None:
    adata = annotated()
    table = scfm.get.annotation(adata)
    written = ["cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score", "prediction_set"]
    assert list(table.columns) == written
    assert table.index.equals(adata.obs_names)
    for name in table:
        pd.testing.assert_series_equal(table[name], adata.obs[f"scfm_{name}"], check_names=False)


def test_annotation_is_a_copy(annotated: Annotated) -> None:
    adata = annotated()
    scfm.get.annotation(adata)["confidence"] = -1.0
    assert adata.obs["scfm_confidence"].min() >= 0


def test_cell_types_count_every_cell_once(annotated: Annotated) -> None:
    adata = annotated()
    table = scfm.get.cell_types(adata)
    assert table["n_cells"].to_dict() == adata.obs["scfm_cell_type"].astype(str).value_counts().to_dict()
    np.testing.assert_allclose(table["share"].sum(), 1)
    label = table.index[0]
    sure = adata.obs.loc[adata.obs["scfm_cell_type"] == label, "scfm_confidence"]
    np.testing.assert_allclose(
        table.loc[label, ["mean_confidence", "median_confidence"]].astype(float),
        [sure.mean(), sure.median()],
        rtol=1e-5,
    )
    assert (
        adata.obs.set_index("scfm_cell_type")["scfm_cell_type_ontology"].loc[label].iloc[0]
        == table.at[label, "ontology"]
    )


def test_most_numerous_come_first_and_unknown_last(annotated: Annotated) -> None:
    adata = annotated()
    labels = np.array(["unknown"] * 400 + ["b"] * 100 + ["a"] * 100 + ["c"] * 100)
    adata.obs["scfm_cell_type"] = pd.Categorical(labels, categories=["unknown", "c", "b", "a", "never seen"])
    assert list(scfm.get.cell_types(adata).index) == ["a", "b", "c", "unknown"]


def test_classes_known_from_profiles_only_are_marked(annotated: Annotated) -> None:
    adata = annotated()
    written = adata.uns["scfm"]["annotate"]["scfm"]
    profiled = [label for label, only in zip(written["labels"], written["labels_from_profiles"], strict=True) if only]
    measured = [label for label in written["labels"] if label not in profiled]
    labels = [profiled[0], measured[0], "unknown"]
    adata.obs["scfm_cell_type"] = pd.Categorical(np.resize(labels, adata.n_obs).astype(object))
    found = scfm.get.cell_types(adata)["from_profiles"]
    assert found[profiled[0]] is np.True_
    assert found[measured[0]] is np.False_
    assert pd.isna(found["unknown"])


def test_lost_record_leaves_profiles_open(annotated: Annotated) -> None:
    both = anndata.concat([annotated(), annotated()], index_unique="-")
    table = scfm.get.cell_types(both)
    assert table["n_cells"].sum() == both.n_obs
    assert table["from_profiles"].isna().all()


def test_cells_without_confidence_do_not_count_in_its_mean(annotated: Annotated) -> None:
    adata = annotated()
    adata.obs["scfm_cell_type"] = pd.Categorical(["unknown"] * 2 + ["a"] * (adata.n_obs - 2))
    adata.obs["scfm_confidence"] = np.float32([np.nan] * 3 + [0.5] * (adata.n_obs - 3))
    mean = scfm.get.cell_types(adata)["mean_confidence"]
    assert mean["a"] == 0.5
    assert np.isnan(mean["unknown"])


@pytest.mark.parametrize(
    "table",
    [
        scfm.get.annotation,
        scfm.get.cell_types,
        scfm.get.evidence,
        scfm.get.prediction_sets,
        partial(scfm.get.composition, groupby="bulk_labels"),
        partial(scfm.get.confusion, labels_key="bulk_labels"),
        partial(scfm.get.calibration, labels_key="bulk_labels"),
    ],
)
def test_missing_annotation_names_what_to_run(annotated: Annotated, table: Callable[..., pd.DataFrame]) -> None:
    adata = annotated()
    with pytest.raises(MissingKeyError, match=r"found: 'scfm'.*tl\.annotate\(adata, key_added='other'\)"):
        table(adata, key="other")
    bare = AnnData(np.ones((2, 2), np.float32))
    with pytest.raises(MissingKeyError, match=r"found: none.*Run scfm\.tl\.annotate"):
        table(bare)


def test_tables_are_the_same_after_a_way_through_a_file(annotated: Annotated, tmp_path: Path) -> None:
    adata = annotated()
    adata.write_h5ad(tmp_path / "cells.h5ad")
    read = anndata.read_h5ad(tmp_path / "cells.h5ad")
    pd.testing.assert_frame_equal(scfm.get.cell_types(read), scfm.get.cell_types(adata))
