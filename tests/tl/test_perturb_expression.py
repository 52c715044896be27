"""``tl.perturb``: the predicted change of expression."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._query import read_query
from scfm_scverse._record import read_record
from scfm_scverse.models import Wanted
from support import GENES, small_counts


def expression(adata: AnnData) -> pd.DataFrame:
    """What scfm-mini predicts for every gene of its vocabulary that is measured, cells x names of the data."""
    model = scfm.models.load("scfm-mini")
    read = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": "human"}
    query = read_query(adata, model, **read)
    tokens = model.tokenizer(query.columns)(sp.csr_matrix(adata.X))
    told = model.encode(tokens, Wanted(frozenset({"expression"})), device=torch.device("cpu"), dtype=torch.float32)
    name = {int(at): gene for at, gene in zip(query.columns.vocabulary, GENES, strict=True) if at >= 0}
    genes = [name[at] for at in told.expression.gene.tolist()]
    rows = pd.DataFrame({"cell": told.expression.cell, "gene": genes, "value": told.expression.values})
    return rows.pivot(index="cell", columns="gene", values="value")


def delta(adata: AnnData, genes_out: int | Sequence[str], genes: str = "LYZ") -> pd.DataFrame:
    scfm.tl.perturb(adata, genes, genes_out=genes_out)
    return adata.to_df("scfm_delta")


@pytest.fixture
def expected() -> pd.DataFrame:
    """Change of every gene when LYZ is deleted, in log1p of counts per 10,000."""
    adata, without = small_counts(), small_counts()
    counts = without.X.toarray()
    counts[:, GENES.index("LYZ")] = 0
    without.X = sp.csr_matrix(counts)
    change = expression(without) - expression(adata)
    return change.drop(columns="LYZ").set_axis(adata.obs_names)


def test_change_is_the_difference_of_what_the_model_predicts(expected: pd.DataFrame) -> None:
    found = delta(small_counts(), len(GENES))
    np.testing.assert_allclose(found[expected.columns], expected, rtol=0, atol=2e-6)
    assert not found.drop(columns=expected.columns).to_numpy().any()
    assert np.abs(expected.to_numpy()).max() > 1e-3


def test_genes_that_change_most_are_written(expected: pd.DataFrame) -> None:
    adata = small_counts()
    found = delta(adata, 10)
    total = expected.abs().sum().sort_values(ascending=False)
    written = found.columns[found.to_numpy().any(axis=0)]
    assert set(written) == set(total.index[:10])
    assert set(read_record(adata, "perturb", "scfm")["genes_out"]) == set(written)
    np.testing.assert_allclose(found[written], expected[written], rtol=0, atol=2e-6)


def test_named_genes_are_written_and_no_others(expected: pd.DataFrame) -> None:
    names = ["CD74", "LYZ", "HLA-DRA"]
    for given in (names, tuple(names), pd.Index(names), np.array(names)):
        adata = small_counts()
        found = delta(adata, given)
        assert sorted(read_record(adata, "perturb", "scfm")["genes_out"]) == ["CD74", "HLA-DRA"]
        assert found.columns[found.to_numpy().any(axis=0)].tolist() == ["CD74", "HLA-DRA"]  # LYZ was perturbed
    np.testing.assert_allclose(found[["CD74"]], expected[["CD74"]], rtol=0, atol=2e-6)


def test_number_of_genes_may_come_from_numpy() -> None:
    assert delta(small_counts(), np.int64(7)).equals(delta(small_counts(), 7))  # type: ignore[arg-type]


@pytest.mark.parametrize("genes_out", [0, []])
def test_no_genes_no_layer(genes_out: int | Sequence[str]) -> None:
    adata = small_counts()
    scfm.tl.perturb(adata, "LYZ", genes_out=genes_out)
    assert not adata.layers
    assert read_record(adata, "perturb", "scfm")["genes_out"] == []


def test_effect_is_the_same_with_and_without_expression() -> None:
    one, other = small_counts(), small_counts()
    scfm.tl.perturb(one, "LYZ", genes_out=0)
    scfm.tl.perturb(other, "LYZ")
    np.testing.assert_allclose(one.obs["scfm_effect"], other.obs["scfm_effect"], rtol=0, atol=1e-7)


def test_genes_are_chosen_in_cells_from_all_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scfm_scverse.tl._predicted_change.SAMPLE", 6)
    adata = small_counts(60)
    found = delta(adata, 10)
    every = delta(small_counts(60), len(GENES))
    held = np.flatnonzero(adata.obs["scfm_effect"])
    sample = held[np.linspace(0, len(held) - 1, 6).astype(int)]
    strongest = every.iloc[sample].abs().sum().sort_values(ascending=False).index[:10]
    assert set(found.columns[found.to_numpy().any(axis=0)]) == set(strongest)


def test_several_perturbed_genes_are_left_out() -> None:
    found = delta(small_counts(), len(GENES), "LYZ+CD74+B2M")
    assert not found[["LYZ", "CD74", "B2M"]].to_numpy().any()
    assert found["HLA-DRA"].to_numpy().any()
