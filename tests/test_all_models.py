"""What every registered model must do: a cell's vector depends on the cell, and on nothing around it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import CountsError
from scfm_scverse._record import read_record
from scfm_scverse.io.files import read_adata, write_adata
from support import small_counts

MODELS = list(scfm.models.available().index)
EQUAL = {"rtol": 0, "atol": 1e-6}

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def adata() -> AnnData:
    """Forty cells of very different depth."""
    adata = small_counts(40)
    depth = np.geomspace(0.05, 1, adata.n_obs)[np.random.default_rng(0).permutation(adata.n_obs)]
    thinned = np.random.default_rng(1).binomial(adata.X.toarray().astype(int), depth[:, None])
    adata.X = sp.csr_matrix(thinned.astype(np.float32))
    return adata


def embedding(adata: AnnData, model: str, **arguments: Any) -> np.ndarray:
    """Embed a copy under a key of its own."""
    adata = adata.copy() if not adata.isbacked and isinstance(adata.X, sp.csr_matrix) else adata
    scfm.tl.embed(adata, model=model, key_added="X_test", **arguments)
    return np.asarray(adata.obsm["X_test"])


@every_model
def test_spec_describes_the_model(name: str) -> None:
    spec = scfm.models.load(name).spec
    assert spec.name == name
    assert len(spec.weights_hash) == 16
    assert spec.weights_hash in spec.id
    assert len(set(spec.genes.tolist())) == len(spec.genes)
    assert (scfm.models.load(name).gene_rows >= 0).mean() > 0.9
    assert "cell" in spec.outputs
    assert spec.key_added.startswith("X_")
    assert all((spec.licence, spec.citation, spec.description))


@every_model
def test_embedding_is_one_float32_row_a_cell(adata: AnnData, name: str) -> None:
    spec = scfm.models.load(name).spec
    before = adata.copy()
    scfm.tl.embed(adata, model=name)
    found = adata.obsm[spec.key_added]
    assert found.shape == (adata.n_obs, spec.dim)
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    assert len(np.unique(found.round(4), axis=0)) == adata.n_obs
    record = read_record(adata, "embed", spec.key_added)
    assert record is not None
    assert record["model_id"] == spec.id
    assert (adata.X != before.X).nnz == 0
    assert adata.obs.equals(before.obs)
    assert adata.var.equals(before.var)


@every_model
def test_embedding_does_not_depend_on_batch_or_block_size(adata: AnnData, name: str) -> None:
    expected = embedding(adata, name)
    for batch_size in (1, 7, 1000):
        np.testing.assert_allclose(embedding(adata, name, batch_size=batch_size), expected, **EQUAL)
    for block_size in (1, 13):
        with scfm.settings.override(block_size=block_size):
            np.testing.assert_allclose(embedding(adata, name), expected, **EQUAL)


@every_model
def test_embedding_does_not_depend_on_the_other_cells(adata: AnnData, name: str) -> None:
    expected = embedding(adata, name)
    order = np.random.default_rng(2).permutation(adata.n_obs)
    np.testing.assert_allclose(embedding(adata[order].copy(), name), expected[order], **EQUAL)
    for cell in (0, 17):
        np.testing.assert_allclose(embedding(adata[[cell]].copy(), name), expected[[cell]], **EQUAL)


@every_model
def test_embedding_does_not_depend_on_the_order_of_genes(adata: AnnData, name: str) -> None:
    order = np.random.default_rng(3).permutation(adata.n_vars)
    np.testing.assert_allclose(embedding(adata[:, order].copy(), name), embedding(adata, name), **EQUAL)


@every_model
def test_embedding_does_not_depend_on_threads(adata: AnnData, name: str) -> None:
    before = torch.get_num_threads()
    results = []
    for n_jobs in (1, 2, 4):
        with scfm.settings.override(n_jobs=n_jobs):
            results.append(embedding(adata, name))
    assert torch.get_num_threads() == before
    for found in results[1:]:
        np.testing.assert_allclose(found, results[0], **EQUAL)


def with_x(adata: AnnData, matrix: Any) -> AnnData:
    """The same cells and genes around another matrix."""
    return AnnData(matrix, obs=adata.obs, var=adata.var)


def in_file(adata: AnnData, path: Path) -> AnnData:
    write_adata(adata, path)
    return read_adata(path, backed=True)


def backed(adata: AnnData, path: Path) -> AnnData:
    import anndata

    write_adata(adata, path)
    return anndata.read_h5ad(path, backed="r")


def dask_of(adata: AnnData, kind: Callable[[Any], Any]) -> AnnData:
    import dask.array as da

    return with_x(adata, da.from_array(adata.X.toarray(), chunks=(7, -1)).map_blocks(kind))


def surrounded(adata: AnnData) -> AnnData:
    """A view that shows these cells among others, in another order, of a larger AnnData."""
    import anndata

    other = small_counts(50, seed=9)
    other.obs_names = [f"other{i}" for i in range(other.n_obs)]
    order = np.random.default_rng(4).permutation(adata.n_obs + other.n_obs)
    both = anndata.concat([adata, other])[order].copy()
    return both[adata.obs_names]


STORES: dict[str, Callable[[AnnData, Path], AnnData]] = {
    "csr array": lambda adata, _: with_x(adata, sp.csr_array(adata.X)),
    "csc": lambda adata, _: with_x(adata, adata.X.tocsc()),
    "dense": lambda adata, _: with_x(adata, adata.X.toarray()),
    "dense, column by column": lambda adata, _: with_x(adata, np.asfortranarray(adata.X.toarray())),
    "float64": lambda adata, _: with_x(adata, adata.X.astype(np.float64)),
    "int64": lambda adata, _: with_x(adata, adata.X.astype(np.int64)),
    "uint16": lambda adata, _: with_x(adata, adata.X.astype(np.uint16)),
    "layer of counts": lambda adata, _: AnnData(adata.X * -1, adata.obs, adata.var, layers={"counts": adata.X}),
    "backed h5ad": lambda adata, folder: backed(adata, folder / "cells.h5ad"),
    "backed h5ad, dense": lambda adata, folder: backed(with_x(adata, adata.X.toarray()), folder / "cells.h5ad"),
    "lazy h5ad": lambda adata, folder: in_file(adata, folder / "cells.h5ad"),
    "lazy zarr": lambda adata, folder: in_file(adata, folder / "cells.zarr"),
    "lazy zarr, csc": lambda adata, folder: in_file(with_x(adata, adata.X.tocsc()), folder / "cells.zarr"),
    "dask": lambda adata, _: dask_of(adata, np.asarray),
    "dask csr": lambda adata, _: dask_of(adata, sp.csr_matrix),
    "view": lambda adata, _: surrounded(adata),
}


@every_model
@pytest.mark.parametrize("store", STORES)
def test_embedding_does_not_depend_on_how_the_matrix_is_stored(
    adata: AnnData, name: str, store: str, tmp_path: Path
) -> None:
    stored = STORES[store](adata, tmp_path)
    assert stored.obs_names.equals(adata.obs_names)
    np.testing.assert_allclose(embedding(stored, name), embedding(adata, name), **EQUAL)


@every_model
def test_cells_without_counts_get_nan_and_keep_their_place(adata: AnnData, name: str) -> None:
    expected = embedding(adata, name)
    empty = [3, 30]
    counts = adata.X.toarray()
    counts[empty] = 0
    adata.X = sp.csr_matrix(counts)
    scfm.tl.embed(adata, model=name, key_added="X_test")
    found = adata.obsm["X_test"]
    assert np.isnan(found[empty]).all()
    rest = np.setdiff1d(np.arange(adata.n_obs), empty)
    np.testing.assert_allclose(found[rest], expected[rest], **EQUAL)
    record = read_record(adata, "embed", "X_test")
    assert record is not None
    assert record["n_empty_cells"] == 2


@every_model
def test_log_values_are_read_or_refused_as_the_model_says(adata: AnnData, name: str) -> None:
    totals = np.asarray(adata.X.sum(axis=1))
    logs = with_x(adata, sp.csr_matrix(np.log1p(adata.X.toarray() / totals * 1e4)))
    if scfm.models.load(name).spec.needs_counts:
        with pytest.raises(CountsError, match="needs counts"):
            embedding(logs, name)
    else:
        np.testing.assert_allclose(embedding(logs, name), embedding(adata, name), rtol=0, atol=1e-5)


@every_model
def test_real_cells_of_one_type_are_nearer_than_those_of_others(
    read_cells: Callable[[str], AnnData], name: str
) -> None:
    adata = read_cells("pbmc3k_10x")[::5].copy()
    vectors = embedding(adata, name).astype(np.float64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -1)
    label = adata.obs["cell_type"].to_numpy(str)
    assert (label[near.argmax(axis=1)] == label).mean() > 2 * (
        np.unique(label, return_counts=True)[1].max() / len(label)
    )
