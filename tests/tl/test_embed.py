"""``tl.embed``: where it reads, where it writes, what it says."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._record import read_record
from scfm_scverse.genes import load_gene_table
from support import small_counts


def embedding(adata: AnnData, **arguments: object) -> np.ndarray:
    scfm.tl.embed(adata, **arguments)  # type: ignore[arg-type]
    return np.asarray(adata.obsm["X_scfm"])


def log_of(counts: sp.csr_matrix) -> sp.csr_matrix:
    values = counts.toarray()
    return sp.csr_matrix(np.log1p(values / values.sum(axis=1, keepdims=True) * 1e4))


def test_record_says_how_the_embedding_was_made() -> None:
    adata = small_counts()
    assert scfm.tl.embed(adata, batch_size=5) is None
    spec = scfm.models.load("scfm-mini").spec
    record = read_record(adata, "embed", "X_scfm")
    assert record is not None
    expected = {
        "model": "scfm-mini",
        "model_id": spec.id,
        "source": "X",
        "values": "counts",
        "organism": "human",
        "n_empty_cells": 0,
        "layer": None,
        "use_raw": False,
        "normalized": None,
        "dtype": "auto",
    }
    assert {key: record[key] for key in expected} == expected
    known = np.isin(
        load_gene_table().ensembl[[load_gene_table().row_of_symbol[g] for g in adata.var_names]], spec.genes
    )
    totals = np.asarray(adata.X.sum(axis=0)).ravel()
    assert record["n_genes_known"] == known.sum()
    assert record["share_of_counts_known"] == pytest.approx(totals[known].sum() / totals.sum(), rel=1e-5)
    assert record["share_of_model_measured"] == pytest.approx(known.sum() / len(spec.genes))


def test_several_embeddings_stand_side_by_side() -> None:
    adata = small_counts()
    adata.layers["thinned"] = sp.csr_matrix(np.random.default_rng(0).binomial(adata.X.toarray().astype(int), 0.5))
    scfm.tl.embed(adata)
    scfm.tl.embed(adata, key_added="X_thinned", layer="thinned")
    scfm.tl.embed(adata)
    assert set(adata.obsm) == {"X_scfm", "X_thinned"}
    assert read_record(adata, "embed", "X_thinned")["layer"] == "thinned"
    assert read_record(adata, "embed", "X_scfm")["layer"] is None
    assert np.abs(adata.obsm["X_scfm"] - adata.obsm["X_thinned"]).max() > 1e-3


def test_copy_is_returned_and_the_original_stays() -> None:
    adata = small_counts()
    copied = scfm.tl.embed(adata, copy=True)
    assert copied is not None
    np.testing.assert_array_equal(copied.obsm["X_scfm"], embedding(adata))


def test_model_may_be_given_as_an_object() -> None:
    model = scfm.models.load("scfm-mini")
    np.testing.assert_array_equal(embedding(small_counts(), model=model), embedding(small_counts()))


def test_values_are_read_from_where_the_arguments_say() -> None:
    counts = small_counts()
    expected = embedding(counts.copy())
    logs = small_counts()
    logs.raw = counts
    logs.X = log_of(counts.X)
    logs.layers["other"] = counts.X * 3
    np.testing.assert_allclose(embedding(logs.copy()), expected, atol=1e-6)
    np.testing.assert_allclose(embedding(logs.copy(), use_raw=True), expected, atol=1e-6)
    np.testing.assert_allclose(embedding(logs.copy(), layer="other"), expected, atol=1e-6)
    read_x = logs.copy()
    np.testing.assert_allclose(embedding(read_x, normalized=True), expected, atol=1e-5)
    assert read_record(read_x, "embed", "X_scfm")["values"] == "log"


def test_symbols_are_read_from_a_column() -> None:
    adata = small_counts()
    expected = embedding(adata.copy())
    adata.var["name"] = adata.var_names
    adata.var_names = [f"row{i}" for i in range(adata.n_vars)]
    np.testing.assert_array_equal(embedding(adata, gene_symbols="name"), expected)


def test_one_line_tells_what_was_done(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="scfm"):
        scfm.tl.embed(small_counts())
    lines = [record.message for record in caplog.records]
    assert sum(line.startswith("reading counts of X") for line in lines) == 1
    assert sum(line.startswith("embedded 30 cells with scfm-mini") for line in lines) == 1


def test_nothing_is_said_when_nothing_shall_be_said(caplog: pytest.LogCaptureFixture) -> None:
    with scfm.settings.override(verbosity=0):
        scfm.tl.embed(small_counts())
    assert caplog.records == []
