"""What goes wrong elsewhere must not go wrong with any published model: order, empty cells, names, storage, neighbours.

The toy checkpoints are loaded and used as a user does it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad

import scfm_scverse as scfm
from scfm_scverse._record import read_record
from scfm_scverse.genes import load_gene_table
from scfm_scverse.models import CellModel

NEAR = {"rtol": 0, "atol": 1e-5}
CHECKPOINTS = {
    "scGPT": "scgpt/model",
    "Geneformer V1": "geneformer/model_v1",
    "Geneformer V2": "geneformer/model_v2",
    "scFoundation": "scfoundation/models.ckpt",
    "scBERT": "scbert/panglao_pretrain.pth",
}


@cache
def load(folder: Path, name: str) -> CellModel:
    options: dict[str, Any] = {}
    if name.startswith("Geneformer"):
        # The toy vocabulary is of invented genes: others take their tokens.
        table = load_gene_table()
        special = ["<pad>", "<mask>", "<cls>", "<eos>"][: 4 if name.endswith("V2") else 2]
        genes = table.ensembl[table.canonical & (table.biotype == "protein_coding")][:60].tolist()
        options["token_dictionary"] = {token: at for at, token in enumerate([*special, *genes])}
        options["gene_medians"] = {gene: 1 + at % 7 / 3 for at, gene in enumerate(genes)}
        options["gene_mapping"] = {gene: gene for gene in genes}
    if name == "scBERT":
        options["genes"] = np.load(folder / "scbert" / "inputs.npz")["model_genes"].tolist()
    return scfm.models.load(folder / CHECKPOINTS[name], **options)


@pytest.fixture(params=CHECKPOINTS)
def model(request: pytest.FixtureRequest, shared: Path) -> CellModel:
    return load(shared / "golden", request.param)


@pytest.fixture
def adata(model: CellModel) -> AnnData:
    """Counts of the model's own genes in 20 cells of very different depth, some below any sensible limit."""
    rows, at = np.unique(model.gene_rows, return_index=True)
    at = np.sort(at[rows >= 0])[:70]
    rng = np.random.default_rng(0)
    depth = np.geomspace(0.02, 3, 20)[rng.permutation(20)]
    counts = rng.poisson(rng.gamma(0.7, 3.0, len(at)) * depth[:, None])
    counts[:, 0] += counts.sum(axis=1) == 0
    counts[4] = np.arange(len(at)) == 9  # one count in all
    adata = AnnData(sp.csr_matrix(counts.astype(np.float32)))
    adata.obs_names = [f"cell{cell}" for cell in range(adata.n_obs)]
    adata.var_names = model.spec.genes[at].astype(str)
    adata.var["ensembl"] = load_gene_table().ensembl[model.gene_rows[at]]
    return adata


def embedding(adata: AnnData, model: CellModel, **arguments: Any) -> np.ndarray:
    own = adata if adata.isbacked else adata.copy()
    scfm.tl.embed(own, model=model, key_added="X_test", device="cpu", dtype="float32", **arguments)
    return np.asarray(own.obsm["X_test"])


def test_every_cell_is_embedded_in_its_place(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    assert whole.shape == (adata.n_obs, model.spec.dim)
    assert np.isfinite(whole).all()
    order = np.random.default_rng(1).permutation(adata.n_obs)
    np.testing.assert_allclose(embedding(adata[order], model), whole[order], **NEAR)
    assert len(np.unique(whole.round(4), axis=0)) == adata.n_obs


def test_empty_cells_are_marked_and_change_nothing(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    counts, empty = adata.X.toarray(), [0, 7, 19]
    counts[empty] = 0
    adata.X = sp.csr_matrix(counts)
    scfm.tl.embed(adata, model=model, dtype="float32")
    found = adata.obsm[model.spec.key_added]
    assert np.isnan(found[empty]).all()
    kept = np.setdiff1d(np.arange(adata.n_obs), empty)
    np.testing.assert_allclose(found[kept], whole[kept], **NEAR)
    record = read_record(adata, "embed", model.spec.key_added)
    assert record is not None
    assert record["n_empty_cells"] == len(empty)


def test_a_data_set_of_empty_cells_is_no_crash(adata: AnnData, model: CellModel) -> None:
    adata = adata[:3].copy()
    adata.X = sp.csr_matrix(np.where(np.arange(3)[:, None] == 1, adata.X.toarray(), 0))
    assert np.isnan(embedding(adata, model)[[0, 2]]).all()


def test_ensembl_ids_with_versions_are_the_same_genes(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    versioned = adata.copy()
    versioned.var_names = [f"{gene}.{1 + at % 12}" for at, gene in enumerate(adata.var["ensembl"])]
    np.testing.assert_allclose(embedding(versioned, model), whole, **NEAR)
    beside = adata.copy()
    beside.var["gene_ids"] = list(versioned.var_names)
    np.testing.assert_allclose(embedding(beside, model), whole, **NEAR)


def test_columns_of_one_gene_are_added(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    counts = adata.X.toarray()
    part = np.random.default_rng(2).binomial(counts[:, :5].astype(int), 0.5)
    counts[:, :5] -= part
    split = AnnData(sp.csr_matrix(np.hstack([counts, part]).astype(np.float32)), obs=adata.obs)
    split.var["symbol"] = [*adata.var_names, *adata.var_names[:5]]
    np.testing.assert_allclose(embedding(split, model, gene_symbols="symbol"), whole, **NEAR)


def test_more_genes_than_the_model_knows_and_another_order_change_nothing(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    table = load_gene_table()
    foreign = np.setdiff1d(table.ensembl[table.canonical], table.ensembl[model.gene_rows[model.gene_rows >= 0]])
    foreign = foreign[: len(model.spec.genes) + 50]
    counts = sp.hstack([adata.X, sp.csr_matrix((adata.n_obs, len(foreign)), dtype=np.float32)]).tocsc()
    order = np.random.default_rng(3).permutation(counts.shape[1])
    wide = AnnData(counts[:, order].tocsr(), obs=adata.obs)
    wide.var_names = np.array([*adata.var_names, *foreign])[order]
    np.testing.assert_allclose(embedding(wide, model), whole, **NEAR)


def stored_in_a_file(adata: AnnData, folder: Path) -> AnnData:
    adata.write_h5ad(folder / "cells.h5ad")
    return read_h5ad(folder / "cells.h5ad", backed="r")


def in_dask(adata: AnnData) -> AnnData:
    import dask.array as da

    return AnnData(da.from_array(adata.X.toarray(), chunks=(6, -1)), obs=adata.obs, var=adata.var)


STORES: dict[str, Callable[[AnnData, Path], AnnData]] = {
    "dense": lambda adata, _: AnnData(adata.X.toarray(), obs=adata.obs, var=adata.var),
    "CSC": lambda adata, _: AnnData(adata.X.tocsc(), obs=adata.obs, var=adata.var),
    "backed": stored_in_a_file,
    "dask": lambda adata, _: in_dask(adata),
}


@pytest.mark.parametrize("store", STORES)
def test_storage_changes_no_bit(adata: AnnData, model: CellModel, store: str, tmp_path: Path) -> None:
    np.testing.assert_array_equal(embedding(STORES[store](adata, tmp_path), model), embedding(adata, model))


def test_batch_size_blocks_threads_and_neighbours_change_nothing(adata: AnnData, model: CellModel) -> None:
    whole = embedding(adata, model)
    for batch_size in (1, 3):
        np.testing.assert_allclose(embedding(adata, model, batch_size=batch_size), whole, **NEAR)
    for setting in ({"block_size": 7}, {"n_jobs": 1}, {"n_jobs": 2}):
        with scfm.settings.override(**setting):
            np.testing.assert_allclose(embedding(adata, model), whole, **NEAR)
    for cell in (4, 11):
        np.testing.assert_allclose(embedding(adata[[cell]], model), whole[[cell]], **NEAR)
    again = [0, 0, 1, 1, 2]
    np.testing.assert_allclose(embedding(AnnData(adata.X[again], var=adata.var), model), whole[again], **NEAR)


def test_the_matrix_is_left_alone(adata: AnnData, model: CellModel) -> None:
    before = adata.copy()
    scfm.tl.embed(adata, model=model, dtype="float32")
    assert (adata.X != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert adata.var.equals(before.var)
    assert list(adata.obsm) == [model.spec.key_added]
