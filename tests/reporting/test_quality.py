"""Numbers of a cell, read block by block, against the dense matrix."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse.reporting._quality import quality_of
from support import annotated_by_hand

MITOCHONDRIAL = ["MT-CO1", "MT-ND4"]


def cells() -> AnnData:
    """Two mitochondrial genes and a spike-in take the place of the last three genes."""
    adata = annotated_by_hand()
    adata.var_names = [*adata.var_names[:-3], *MITOCHONDRIAL, "ERCC-00002"]
    return adata


def test_numbers_are_those_of_the_dense_matrix() -> None:
    adata = cells()
    genes = adata.X.toarray()[:, :-1]
    with scfm.settings.override(block_size=7):
        found = quality_of(adata, "scfm")
    assert found.total is not None
    assert found.mitochondrial is not None
    np.testing.assert_allclose(found.total, genes.sum(axis=1))
    np.testing.assert_array_equal(found.n_genes, (genes > 0).sum(axis=1))
    np.testing.assert_allclose(found.mitochondrial, genes[:, -2:].sum(axis=1) / genes.sum(axis=1))


def test_normalised_values_have_shares_but_no_totals() -> None:
    adata = cells()
    expected = quality_of(adata, "scfm")
    counts = adata.X.toarray()
    adata.X = sp.csr_matrix(np.log1p(1e4 * counts / counts.sum(axis=1, keepdims=True)))
    found = quality_of(adata, "scfm")
    assert found.total is None
    np.testing.assert_array_equal(found.n_genes, expected.n_genes)
    np.testing.assert_allclose(found.mitochondrial, expected.mitochondrial, rtol=1e-4)


def test_share_is_missing_where_there_is_nothing_to_share() -> None:
    adata = annotated_by_hand()
    assert quality_of(adata, "scfm").mitochondrial is None
    adata = cells()
    values = adata.X.toarray()
    values[3] = 0
    adata.X = sp.csr_matrix(values)
    found = quality_of(adata, "scfm")
    assert np.flatnonzero(np.isnan(found.mitochondrial)).tolist() == [3]


@pytest.mark.parametrize("name", ["mt-Co1", "ENSG00000198804"])
def test_mitochondrial_genes_of_mouse_and_by_id_are_found(name: str) -> None:
    adata = annotated_by_hand()
    adata.var_names = [*adata.var_names[:-1], name]
    assert quality_of(adata, "scfm").mitochondrial is not None
