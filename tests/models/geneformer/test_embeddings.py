"""Embeddings of cells and of genes in cells, by the interface of all models, against the original's."""

from __future__ import annotations

import anndata
import numpy as np
import pytest
import torch

import scfm_scverse as scfm
from scfm_scverse.models import Wanted

from .conftest import CLOSE, WHERE, Golden

LAYERS = pytest.mark.parametrize("layer", [-1, 0])  # as the authors count: 0 is the last
VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


def ours(layer: int) -> int:
    return layer - 1


def dictionaries(golden, version: str) -> dict:
    return {
        "token_dictionary": golden.folder / f"token_dictionary_{version}.pkl",
        "gene_medians": golden.folder / f"gene_median_dictionary_{version}.pkl",
        "gene_mapping": golden.folder / f"ensembl_mapping_dict_{version}.pkl",
    }


def in_their_order(stored, prefix: str, cells: list[str]) -> np.ndarray:
    return np.array([cells.index(cell) for cell in stored[f"{prefix}output_order_cell_id"]])


CASES = [
    pytest.param("model_v1", "embeddings", "v1_", id="V1"),
    pytest.param("model_v2", "embeddings", "v2_", id="V2"),
    pytest.param("second/model", "second/embeddings", "", id="second", marks=pytest.mark.holdout),
]


@LAYERS
@pytest.mark.parametrize(("model", "arrays", "prefix"), CASES)
def test_embeddings_of_cells_and_genes_are_those_of_the_original(
    golden: Golden, model: str, arrays: str, prefix: str, layer: int
) -> None:
    version = prefix.strip("_") or "v2"
    loaded, stored = golden.load(model, **dictionaries(golden, version)), golden.arrays(arrays)
    tokens, cells = golden.tokens(f"unique_{version}_stable")
    order = in_their_order(stored, prefix, cells)
    for pooling in loaded.spec.poolings:
        want = Wanted(layer=None if layer == -1 else ours(layer), pooling=pooling)
        found = loaded.encode(tokens, want, **WHERE).cell.numpy()
        mode = {"mean": "cell", "cls": "cls"}[pooling]
        np.testing.assert_allclose(found[order], stored[f"{prefix}{mode}_layer{layer}"], **CLOSE)
    rows = loaded.encode(tokens, Wanted(frozenset({"gene"}), layer=ours(layer)), **WHERE).gene
    sums = torch.zeros(len(loaded.spec.genes), loaded.spec.dim).index_add(0, rows.gene, rows.values)
    means = sums / torch.bincount(rows.gene, minlength=len(sums))[:, None]
    key = f"{prefix}gene_layer{layer}_"
    names = stored[f"{key}{'mean_genes' if prefix else 'genes'}"]
    expected = {name: row for name, row in zip(names, stored[f"{key}mean"], strict=True) if not name.startswith("<")}
    assert len(expected) == 60 == len(rows.gene.unique())
    for name, row in expected.items():
        np.testing.assert_allclose(means[loaded.dictionaries.token[name]], row, **CLOSE)


def test_vectors_of_one_gene_in_every_cell_are_those_of_the_original(golden: Golden) -> None:
    model, stored = golden.load("model_v2"), golden.arrays("embeddings")
    tokens, cells = golden.tokens("unique_v2_stable")
    order = in_their_order(stored, "v2_", cells)
    rows = model.encode(tokens.take(order), Wanted(frozenset({"gene"})), **WHERE).gene
    found = rows.values[rows.gene == model.dictionaries.token["ENSG00000900001"]]
    expected = stored["v2_gene_layer-1_all_ENSG00000900001"]
    np.testing.assert_allclose(found, expected[np.argsort(stored["v2_gene_layer-1_all_identifier"])], **CLOSE)


@VERSIONS
def test_means_and_medians_of_states_are_those_of_the_original(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}"), golden.arrays("embeddings")
    tokens, cells = golden.tokens(f"unique_{version}_stable")
    adata = anndata.read_h5ad(golden.folder / "cells_unique.h5ad")
    disease = adata.obs.set_index("cell_id")["disease"].loc[cells].to_numpy()
    found = model.encode(tokens, Wanted(), **WHERE).cell.numpy()
    key = f"{version}_{'cls' if version == 'v2' else 'cell'}_layer-1_"
    for state in (None, "dcm", "nf", "hcm"):
        chosen = found if state is None else found[disease == state]
        # Of two middle values the original takes the lower for a state, and their mean for all cells.
        median = np.median(chosen, axis=0) if state is None else np.sort(chosen, axis=0)[(len(chosen) - 1) // 2]
        name, tail = (key, "") if state is None else (f"{key}state_", f"_{state}")
        np.testing.assert_allclose(chosen.mean(axis=0), stored[f"{name}exact_mean{tail}"], **CLOSE)
        np.testing.assert_allclose(median, stored[f"{name}exact_median{tail}"], **CLOSE)
    if version == "v1":
        for what, exact in (("mean", found.mean(axis=0)), ("median", np.median(found, axis=0))):
            np.testing.assert_allclose(exact, stored[f"{key}tdigest_{what}"], rtol=0, atol=5e-3)


@VERSIONS
@LAYERS
def test_embed_finds_everything_by_itself_and_gives_the_embeddings_of_the_original(
    golden: Golden, version: str, layer: int
) -> None:
    adata, stored = anndata.read_h5ad(golden.folder / "cells_unique.h5ad"), golden.arrays("embeddings")
    model = scfm.models.load(golden.folder / f"model_{version}", mode="original")
    scfm.tl.embed(adata, model=model, output_layer=ours(layer), dtype="float32")
    found = adata.obsm["X_Geneformer"]
    cells = adata.obs["cell_id"].tolist()
    assert [cells[at] for at in np.flatnonzero(np.isnan(found).any(axis=1))] == ["c03", "c07"]
    mode = {"v1": "cell", "v2": "cls"}[version]
    order = in_their_order(stored, f"{version}_", cells)
    # Blocks of a matrix hold no stored zeros, so c15 lacks the two that the original ranked.
    same = np.array([cells[at] != "c15" for at in order])
    expected = stored[f"{version}_{mode}_layer{layer}"]
    np.testing.assert_allclose(found[order][same], expected[same], **CLOSE)


@VERSIONS
def test_default_differs_from_the_original_only_where_it_was_wrong_or_ties_decide(golden: Golden, version: str) -> None:
    adata, stored = anndata.read_h5ad(golden.folder / "cells_unique.h5ad"), golden.arrays("embeddings")
    adata = adata[:, ~adata.var["ensembl_id"].str.contains(".", regex=False)].copy()
    scfm.tl.embed(adata, model=golden.folder / f"model_{version}", dtype="float32")
    cells = adata.obs["cell_id"].tolist()
    _, kept = golden.tokens(f"unique_{version}_stable")
    model = golden.load(f"model_{version}")
    # Where no two genes of a cell have one value, any stable order is the original's.
    levels = dict(zip(model.spec.genes.tolist(), model.dictionaries.medians.tolist(), strict=True))
    median = np.array([levels.get(name, np.nan) for name in adata.var["ensembl_id"]])
    untied = []
    for cell in kept:
        ranks = adata.X[cells.index(cell)].toarray()[0] / median
        ranks = ranks[ranks > 0]
        if len(np.unique(ranks)) == len(ranks):
            untied.append(cell)
    assert len(untied) > 5
    mode = {"v1": "cell", "v2": "cls"}[version]
    theirs = stored[f"{version}_output_order_cell_id"].tolist()
    for cell in set(untied) - {"c15"}:
        expected = stored[f"{version}_{mode}_layer-1"][theirs.index(cell)]
        np.testing.assert_allclose(adata.obsm["X_Geneformer"][cells.index(cell)], expected, **CLOSE)


def test_gene_vectors_are_the_word_embeddings(golden: Golden) -> None:
    model = golden.load("model_v1")
    vectors = model.gene_vectors()
    assert vectors.shape == (62, 16)
    np.testing.assert_array_equal(vectors, model.network.word.weight.detach())


def test_bfloat16_keeps_the_direction_of_every_cell(golden: Golden) -> None:
    model = golden.load("model_v2")
    tokens, _ = golden.tokens("unique_v2_stable")
    for pooling in ("cls", "mean"):
        want = Wanted(pooling=pooling)
        exact = model.encode(tokens, want, **WHERE).cell
        rough = model.encode(tokens, want, device=torch.device("cpu"), dtype=torch.bfloat16).cell.float()
        assert torch.cosine_similarity(exact, rough).min() > 0.999
