"""Checkpoints of the published vocabularies, with random weights: everything is found without an option."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from anndata import AnnData
from safetensors.torch import save_file

import scfm_scverse as scfm
from scfm_scverse.models.geneformer.files import name_in_file
from scfm_scverse.models.geneformer.heads import MaskedHead
from scfm_scverse.models.geneformer.network import Network, Sizes
from support import small_counts

SIZES = {"V1": (25_426, 2048), "V2": (20_275, 4096)}


def write_checkpoint(folder: Path, version: str) -> Path:
    """A narrow network of two layers over a published vocabulary, in the authors' layout."""
    n_genes, context = SIZES[version]
    sizes = Sizes(n_genes, context, dim=8, n_layers=2, n_heads=2, dim_hidden=16, eps=1e-12, dropout=0.02)
    torch.manual_seed(0)
    network = Network(sizes, MaskedHead(n_genes, sizes.dim, sizes.eps))
    tensors = {}
    for name, tensor in network.state_dict().items():
        if ".in_proj." in name:
            start = name.replace("encoder.layers.", "bert.encoder.layer.").replace("in_proj", "attention.self.#")
            for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                tensors[start.replace("#", part)] = piece.clone()
        else:
            tensors[name_in_file(name)] = tensor
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    config = {
        "model_type": "bert",
        "vocab_size": n_genes,
        "max_position_embeddings": context,
        "hidden_size": sizes.dim,
        "num_hidden_layers": sizes.n_layers,
        "num_attention_heads": sizes.n_heads,
        "intermediate_size": sizes.dim_hidden,
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(params=["V1", "V2"])
def model(request: pytest.FixtureRequest, tmp_path: Path) -> scfm.models.CellModel:
    return scfm.models.load(write_checkpoint(tmp_path / "model", request.param), version=request.param)


def embedding(adata: AnnData, model: scfm.models.CellModel) -> np.ndarray:
    adata = adata.copy()
    scfm.tl.embed(adata, model=model, dtype="float32")
    return np.asarray(adata.obsm["X_Geneformer"])


def test_vocabulary_is_known_by_its_size_and_any_kind_of_name_gives_one_embedding(
    model: scfm.models.CellModel,
) -> None:
    by_symbol = small_counts(12)
    table = scfm.genes.load_gene_table()
    ids = [str(table.ensembl[table.row_of_symbol[name]]) for name in by_symbol.var_names]
    expected = embedding(by_symbol, model)
    assert len(model.spec.genes) == SIZES[model.spec.version][0]
    assert np.isfinite(expected).all()
    assert len(np.unique(expected.round(4), axis=0)) == 12
    for names in (ids, [f"{name}.3" for name in ids], [name.lower() for name in by_symbol.var_names]):
        renamed = by_symbol.copy()
        renamed.var_names = names
        np.testing.assert_array_equal(embedding(renamed, model), expected)
    twice = AnnData(
        np.hstack([by_symbol.X.toarray() - 1 * (by_symbol.X.toarray() > 1), 1 * (by_symbol.X.toarray() > 1)])
    )
    twice.var_names = [*by_symbol.var_names, *ids]
    np.testing.assert_array_equal(embedding(twice, model), expected)


def test_log_normalised_values_give_the_embedding_of_the_counts(model: scfm.models.CellModel) -> None:
    counts = small_counts(12)
    logs = counts.copy()
    logs.X = counts.X.multiply(1e4 / counts.X.sum(axis=1)).log1p().tocsr().astype(np.float32)
    np.testing.assert_allclose(embedding(logs, model), embedding(counts, model), rtol=0, atol=2e-5)
