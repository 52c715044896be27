"""Markers in the cells that carry a label: values, shares, agreement, and whatever the matrix is stored as."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.io.files import read_adata, write_adata
from support import GENES, annotated_by_hand


def test_numbers_are_those_of_the_dense_matrix() -> None:
    adata = annotated_by_hand()
    table = scfm.get.evidence(adata).set_index(["cell_type", "gene"])
    counts = adata.X.toarray()
    values = np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True))
    for (label, gene), row in table.iterrows():
        inside, column = (adata.obs["scfm_cell_type"] == label).to_numpy(), GENES.index(gene)
        assert row["mean_inside"] == pytest.approx(values[inside, column].mean(), rel=1e-5)
        assert row["mean_outside"] == pytest.approx(values[~inside, column].mean(), rel=1e-5)
        assert row["share_inside"] == (counts[inside, column] > 0).mean()
        assert row["share_outside"] == (counts[~inside, column] > 0).mean()
        assert row["agrees"] == (row["mean_inside"] > row["mean_outside"])
    assert table.at[("B cell", "MS4A1"), "agrees"]
    assert table.at[("B cell", "MS4A1"), "score"] == 3


def test_genes_that_were_not_measured_are_passed_over() -> None:
    table = scfm.get.evidence(annotated_by_hand(), n_genes=2)
    assert table["gene"].tolist() == ["MS4A1", "CD79A", "CD3D"]
    assert scfm.get.evidence(annotated_by_hand(), n_genes=1)["gene"].tolist() == ["MS4A1", "CD3D"]


def test_labels_without_markers_have_no_row_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scfm"):
        table = scfm.get.evidence(annotated_by_hand())
    assert set(table["cell_type"]) == {"B cell", "T cell"}
    assert "the reference has none, for: CD14-positive monocyte" in caplog.text


def test_result_does_not_depend_on_storage_nor_on_blocks(tmp_path: Path) -> None:
    adata = annotated_by_hand()
    expected = scfm.get.evidence(adata)
    write_adata(adata, tmp_path / "cells.h5ad")
    backed = read_adata(tmp_path / "cells.h5ad", backed=True)
    adata.X = sp.csc_matrix(adata.X)
    with scfm.settings.override(block_size=7):
        for stored in (adata, backed):
            found = scfm.get.evidence(stored)
            assert found.drop(columns=["mean_inside", "mean_outside"]).equals(
                expected.drop(columns=["mean_inside", "mean_outside"])
            )
            np.testing.assert_allclose(found["mean_inside"], expected["mean_inside"], rtol=1e-6)


def test_normalised_values_give_the_same_as_counts() -> None:
    adata = annotated_by_hand()
    expected = scfm.get.evidence(adata)
    counts = adata.X.toarray()
    adata.X = sp.csr_matrix(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)))
    np.testing.assert_allclose(scfm.get.evidence(adata)["mean_inside"], expected["mean_inside"], rtol=1e-4)


def test_one_label_for_all_cells_leaves_agreement_open() -> None:
    adata = annotated_by_hand()[:15].copy()
    table = scfm.get.evidence(adata)
    assert table["mean_outside"].isna().all()
    assert table["agrees"].isna().all()


def test_layer_that_was_read_is_read_again() -> None:
    adata = annotated_by_hand()
    expected = scfm.get.evidence(adata)
    adata.layers["mine"] = adata.X
    adata.X = adata.X[:, np.arange(adata.n_vars)[::-1]]
    adata.uns["scfm"]["embed"]["X_scfm"]["layer"] = "mine"
    assert scfm.get.evidence(adata).equals(expected)


def test_annotation_without_markers_is_an_error_that_says_what_to_do() -> None:
    adata = annotated_by_hand()
    del adata.uns["scfm"]["annotate"]["scfm"]["markers"]
    with pytest.raises(MissingKeyError, match=r"holds no markers.*tl\.annotate"):
        scfm.get.evidence(adata)


def test_number_of_genes_below_one_is_an_error() -> None:
    with pytest.raises(InputError, match="n_genes=0"):
        scfm.get.evidence(annotated_by_hand(), n_genes=0)


def test_nothing_is_written() -> None:
    adata = annotated_by_hand()
    before: AnnData = adata.copy()
    scfm.get.evidence(adata)
    assert set(adata.obs) == set(before.obs)
    assert set(adata.uns) == set(before.uns)
