"""Expression is told of genes that were measured and of genes that were not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

import scfm_scverse as scfm
from scfm_scverse import FoundationModel
from scfm_scverse._errors import InputError
from scfm_scverse.foundation.data import read_cells
from scfm_scverse.inference import encode_groups
from scfm_scverse.models import Wanted
from support import TINY, small_counts, two_types


def test_scfm_mini_tells_measured_genes_as_it_does_elsewhere() -> None:
    adata = small_counts(5)
    model = FoundationModel.from_pretrained("scfm-mini")
    told = model.get_normalized_expression(adata)
    cells = read_cells(adata, model.cell_model)
    groups = encode_groups(
        [(0, cells.matrix)],
        5,
        model=scfm.models.load("scfm-mini"),
        tokenize=cells.tokenize,
        want=Wanted(frozenset({"expression"})),
        device="cpu",
        dtype="float32",
    )
    names = dict(zip(model.cell_model.positions(*_match(told.columns)), told.columns, strict=True))
    n = 0
    for at, answer in groups:
        rows = answer.expression
        for cell, gene, value in zip(rows.cell.tolist(), rows.gene.tolist(), rows.values.tolist(), strict=True):
            assert told.loc[f"cell{at[cell]}", names[gene]] == pytest.approx(value, abs=1e-4)
            n += 1
    assert n == told.size > 300


def _match(names: object) -> tuple[object, None]:
    from scfm_scverse.genes import resolve_genes

    return resolve_genes(list(names)), None


def test_scfm_mini_tells_genes_that_were_not_measured() -> None:
    adata = two_types(200)
    model = FoundationModel.from_pretrained("scfm-mini")
    hidden = ["CD3E", "CD79A"]
    told = model.get_normalized_expression(adata[:, ~adata.var_names.isin(hidden)], genes=hidden)
    of_b = (adata.obs["kind"] == "B cell").to_numpy()
    assert told["CD79A"][of_b].mean() > told["CD79A"][~of_b].mean()
    assert told["CD3E"][of_b].mean() < told["CD3E"][~of_b].mean()


def test_scgpt_tells_genes_from_the_vector_of_the_cell(trained: FoundationModel) -> None:
    adata = two_types(seed=1)[:4]
    told = trained.get_normalized_expression(adata, genes=["CD3D", "LYZ"])
    network = trained.module
    names = trained.cell_model.spec.genes.tolist()
    cells = read_cells(adata, trained.cell_model)
    tokens = cells.tokenize(csr_matrix(adata.X))
    with torch.inference_mode():
        seen = trained.cell_model.run(tokens)
        genes = network.encoder(torch.tensor([names.index("CD3D"), names.index("LYZ")]))
        expected = network.mvc_decoder(seen.cell[:, None], genes[None]).value
    np.testing.assert_allclose(told, expected, atol=1e-5)


def test_a_gene_that_the_model_does_not_know_is_named(trained: FoundationModel) -> None:
    with pytest.raises(InputError, match="Found the gene 'INS' and 1 more, unknown to scGPT"):
        trained.get_normalized_expression(genes=["CD3D", "INS", "NOGENE"])


def test_a_model_that_tells_no_expression_says_so() -> None:
    adata = two_types()
    FoundationModel.setup_anndata(adata)
    model = FoundationModel(adata, "geneformer", **TINY)
    with pytest.raises(InputError, match=r"Geneformer.*tells no expression"):
        model.get_normalized_expression()


@pytest.mark.parametrize(
    ("architecture", "sizes"),
    [
        ("scfm-latent", {"n_latents": 4, "n_reads": 1}),
        ("scfoundation", {"decoder_dim": 16, "decoder_layers": 1, "decoder_heads": 2}),
    ],
)
def test_models_of_panels_tell_every_gene_that_they_know(architecture: str, sizes: dict[str, int]) -> None:
    adata = two_types()
    FoundationModel.setup_anndata(adata)
    model = FoundationModel(adata, architecture, dim=16, n_layers=1, n_heads=2, **sizes)
    some = adata[:, :60]
    told = model.get_normalized_expression(some, genes=["VIM", "CD3D"], indices=[2, 1])
    assert told.columns.tolist() == ["VIM", "CD3D"]
    assert told.index.tolist() == ["cell2", "cell1"]
    assert np.isfinite(told).all(axis=None)
    whole = model.get_normalized_expression(some, genes=["CD3D", "VIM"])
    np.testing.assert_allclose(told["VIM"], whole["VIM"].iloc[[2, 1]], atol=1e-5)


def test_a_gene_of_two_names_is_told_under_both() -> None:
    adata = two_types()
    FoundationModel.setup_anndata(adata)
    model = FoundationModel(adata, "scfm-latent", dim=16, n_layers=1, n_heads=2, n_latents=4, n_reads=1)
    told = model.get_normalized_expression(genes=["CD3D", "VIM", "ENSG00000167286"])
    assert np.isfinite(told).all(axis=None)
    assert told["CD3D"].tolist() == told["ENSG00000167286"].tolist()


def test_genes_of_the_data_are_found_where_they_were_set_up() -> None:
    adata = two_types()
    expected = FoundationModel.from_pretrained("scfm-mini").get_normalized_expression(adata)
    adata.var["symbol"] = adata.var_names.to_numpy()
    adata.var_names = [f"gene {name}" for name in adata.var_names]
    FoundationModel.setup_anndata(adata, gene_symbols="symbol")
    told = FoundationModel.from_pretrained("scfm-mini", adata).get_normalized_expression()
    assert told.columns.tolist() == [f"gene {name}" for name in expected.columns]
    np.testing.assert_array_equal(told, expected)
