"""``tl.build_reference``: what becomes a class, what is left out and said, and what the reference remembers."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError, ReferenceMismatchError
from scfm_scverse._record import read_record
from scfm_scverse.tl import _embed
from support import small_counts

MARKERS = ("CD3D CD3E CD3G IL32 IL7R LTB TRAC TRBC1 TRBC2", "CD19 CD74 CD79A CD79B HLA-DRA IGHD IGHM MS4A1 TCL1A")


@pytest.fixture
def labelled() -> AnnData:
    """Sixty cells of two kinds, in two batches."""
    adata = small_counts(60)
    kind = np.arange(60) % 2
    marker = np.array([np.isin(adata.var_names, names.split()) for names in MARKERS])
    adata.X = np.where(marker[1 - kind], 0, adata.X.toarray() + 8 * marker[kind]).astype(np.float32)
    adata.obs["kind"] = np.array(["T/NK", "B cells"])[kind]
    adata.obs["batch"] = np.where(np.arange(60) < 30, "one", "two")
    return adata


def said(caplog: pytest.LogCaptureFixture) -> str:
    return "\n".join(record.message for record in caplog.records)


def test_reference_remembers_cells_genes_organism_and_how_terms_were_found(labelled: AnnData) -> None:
    reference = scfm.tl.build_reference(labelled, labels_key="kind", batch_key="batch")
    assert isinstance(reference, scfm.Reference)
    assert reference.label.tolist() == ["B cells", "T/NK"]
    assert reference.term.tolist() == ["CL:0000236", ""]
    assert reference.matched is not None
    assert reference.matched.tolist() == ["spelling", "none"]
    assert reference.organism == "human"
    assert reference.model_id == scfm.models.load("scfm-mini").spec.id
    assert reference.cells is not None
    assert reference.label[reference.cells.code].tolist() == labelled.obs["kind"].tolist()
    assert reference.cells.batch.tolist() == labelled.obs["batch"].tolist()
    np.testing.assert_allclose(reference.cells.embedding, labelled.obsm["X_scfm"], atol=1e-3)
    assert reference.measured is not None
    known = read_record(labelled, "embed", "X_scfm")["share_of_model_measured"]
    assert reference.measured.mean() == pytest.approx(known)


def test_built_saved_and_direct_references_annotate_alike(labelled: AnnData, tmp_path: Path) -> None:
    reference = scfm.tl.build_reference(labelled, labels_key="kind", batch_key="batch")
    reference.save(tmp_path / "mine.h5ad")
    query = small_counts(20, seed=1)
    ways = [
        {"reference": labelled, "labels_key": "kind", "batch_key": "batch"},
        {"reference": reference},
        {"reference": tmp_path / "mine.h5ad"},
        {"reference": str(tmp_path / "mine.h5ad")},
    ]
    first, *others = [scfm.tl.annotate(query, copy=True, **way).obs for way in ways]
    for other in others:
        pd.testing.assert_frame_equal(other, first)


def test_embedding_is_made_once_and_nothing_else_is_written(labelled: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    scfm.tl.build_reference(labelled, labels_key="kind")
    assert list(labelled.obsm) == ["X_scfm"]
    assert set(labelled.obs) == {"kind", "batch"}
    monkeypatch.setattr(_embed, "embed", lambda *_, **__: pytest.fail("the cells were embedded again"))
    scfm.tl.build_reference(labelled, labels_key="kind")


def test_genes_are_found_in_the_column_that_the_embedding_used(labelled: AnnData) -> None:
    expected = scfm.tl.build_reference(labelled.copy(), labels_key="kind").measured
    labelled.var["here"] = labelled.var_names
    labelled.var_names = [f"row{i}" for i in range(labelled.n_vars)]
    found = scfm.tl.build_reference(labelled, labels_key="kind", gene_symbols="here").measured
    assert found is not None
    assert found.tolist() == expected.tolist()


@pytest.mark.parametrize("missing", [np.nan, None, "", " NaN", "Unknown", "unassigned"])
def test_cells_without_a_label_are_left_out_and_counted(
    labelled: AnnData, caplog: pytest.LogCaptureFixture, missing: object
) -> None:
    labelled.obs["kind"] = [missing if i < 3 else one for i, one in enumerate(labelled.obs["kind"])]
    labelled.X[5] = 0
    with caplog.at_level(logging.INFO, logger="scfm"):
        reference = scfm.tl.build_reference(labelled, labels_key="kind")
    assert "4 cells of the reference have no label or no counts and are left out" in said(caplog)
    assert reference.label.tolist() == ["B cells", "T/NK"]
    assert reference.cells is not None
    assert len(reference.cells.code) == 56


def test_classes_of_one_or_two_cells_are_left_out_and_named(
    labelled: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    labelled.obs["kind"] = labelled.obs["kind"].astype("category").cat.add_categories(["a/rare", "pair", "three"])
    labelled.obs.iloc[[0, 1, 2, 3, 4, 5], 0] = ["a/rare", "pair", "pair", "three", "three", "three"]
    with caplog.at_level(logging.INFO, logger="scfm"):
        reference = scfm.tl.build_reference(labelled, labels_key="kind")
    assert "labels with fewer than 3 cells are left out: 'a/rare', 'pair'" in said(caplog)
    assert reference.label.tolist() == ["B cells", "T/NK", "three"]


def test_fewer_than_two_classes_are_an_error(labelled: AnnData) -> None:
    labelled.obs["kind"] = ["rare", *["B cell"] * 59]
    with pytest.raises(InputError, match=r"1 label \(B cell\); expected two at least in obs\['kind'\], with 3 cells"):
        scfm.tl.build_reference(labelled, labels_key="kind")


def test_reference_of_one_label_is_an_error_before_any_work(labelled: AnnData) -> None:
    labelled.obs["kind"] = "B cell"
    with pytest.raises(InputError, match=r"1 label \(B cell\)"):
        scfm.tl.build_reference(labelled, labels_key="kind")
    assert not labelled.obsm


@pytest.mark.parametrize("argument", ["labels_key", "ontology_key", "batch_key"])
def test_missing_column_is_an_error_before_any_work(labelled: AnnData, argument: str) -> None:
    with pytest.raises(MissingKeyError, match=rf"{argument}='absent' is not in the obs .*'kind', 'batch'"):
        scfm.tl.build_reference(labelled, **{"labels_key": "kind", argument: "absent"})
    assert not labelled.obsm


def test_cells_without_a_batch_are_one_batch_and_counted(labelled: AnnData, caplog: pytest.LogCaptureFixture) -> None:
    labelled.obs["batch"] = [np.nan if i % 3 == 0 else one for i, one in enumerate(labelled.obs["batch"])]
    with caplog.at_level(logging.INFO, logger="scfm"):
        reference = scfm.tl.build_reference(labelled, labels_key="kind", batch_key="batch")
    assert "20 cells of the reference have no value in obs['batch'] and count as one batch" in said(caplog)
    assert reference.cells is not None
    assert set(reference.cells.batch.tolist()) == {"", "one", "two"}


def test_given_terms_are_those_of_most_cells_and_retired_ones_are_replaced(labelled: AnnData) -> None:
    is_b = labelled.obs["kind"] == "B cells"
    labelled.obs["term"] = pd.Categorical(np.where(is_b, "CL:0000788", "not a term"))
    labelled.obs.loc[labelled.obs_names[1], "term"] = "not a term"
    reference = scfm.tl.build_reference(labelled, labels_key="kind", ontology_key="term")
    assert reference.term.tolist() == ["CL:0000788", ""]
    assert reference.matched is not None
    assert reference.matched.tolist() == ["given", "none"]


def test_reference_of_another_organism_is_used_with_one_warning(
    labelled: AnnData, caplog: pytest.LogCaptureFixture
) -> None:
    reference = scfm.tl.build_reference(labelled, labels_key="kind")
    mouse = small_counts(20, seed=1)
    mouse.var_names = [name.capitalize() for name in mouse.var_names]
    with caplog.at_level(logging.WARNING, logger="scfm"):
        scfm.tl.annotate(mouse, reference=reference, organism="mouse")
    assert said(caplog).count("the cells are of mouse and the reference of human") == 1
    caplog.clear()
    with caplog.at_level(logging.WARNING, logger="scfm"):
        scfm.tl.annotate(small_counts(20, seed=1), reference=reference)
    assert "organism" not in said(caplog)
    assert "reference of human" not in said(caplog)


def test_saved_reference_of_another_model_is_refused_by_name(labelled: AnnData, tmp_path: Path) -> None:
    from dataclasses import replace

    reference = scfm.tl.build_reference(labelled, labels_key="kind")
    replace(reference, model_id="other-1:0123456789abcdef").save(tmp_path / "other.h5ad")
    with pytest.raises(ReferenceMismatchError, match=rf"other-1:0123456789abcdef.*{reference.model_id}"):
        scfm.tl.annotate(small_counts(), reference=tmp_path / "other.h5ad")


def test_columns_beside_a_saved_reference_are_an_error(labelled: AnnData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"labels_key='kind'.*reference="):
        scfm.tl.annotate(small_counts(), reference=tmp_path / "mine.h5ad", labels_key="kind")
