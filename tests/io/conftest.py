"""One matrix in every form in which an AnnData can hold it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

Store = Callable[[np.ndarray, Path], Any]


def _h5(folder: Path) -> Any:
    import h5py

    return h5py.File(folder / "matrix.h5", "a")


def _zarr(folder: Path) -> Any:
    import zarr

    return zarr.open_group(str(folder / "matrix.zarr"), mode="a", zarr_format=2)


def _on_disk(store: Any, matrix: Any) -> Any:
    from anndata.io import sparse_dataset, write_elem

    write_elem(store, "X", matrix)
    return store["X"] if isinstance(matrix, np.ndarray) else sparse_dataset(store["X"])


def _memmap(dense: np.ndarray, folder: Path) -> np.memmap:
    np.save(folder / "matrix.npy", dense)
    return np.load(folder / "matrix.npy", mmap_mode="r")


def messy_csr(dense: np.ndarray) -> sp.csr_matrix:
    """Unsorted columns, every value in two parts, and a zero stored in every row."""
    rows = []
    for row in dense:
        columns = np.flatnonzero(row)[::-1]
        halves = np.concatenate([row[columns] - 1, np.ones(len(columns))])
        rows.append((np.concatenate([columns, columns, [0]]), np.concatenate([halves, [0]])))
    indptr = np.concatenate([[0], np.cumsum([len(columns) for columns, _ in rows])])
    indices = np.concatenate([columns for columns, _ in rows]) if rows else np.zeros(0, int)
    data = np.concatenate([values for _, values in rows]) if rows else np.zeros(0)
    return sp.csr_matrix((data, indices, indptr), shape=dense.shape)


def _messy_csc(dense: np.ndarray, _: Path) -> sp.csc_matrix:
    turned = messy_csr(dense.T)
    return sp.csc_matrix((turned.data, turned.indices, turned.indptr), shape=dense.shape)


def _dask(dense: np.ndarray, kind: Callable[[Any], Any], columns: int) -> Any:
    import dask.array as da

    chunks = (3, -1) if columns == 1 else (3, -(-dense.shape[1] // columns))
    return da.from_array(dense, chunks=chunks).map_blocks(kind)


def _long_index(dense: np.ndarray, _: Path) -> sp.csr_array:
    matrix = sp.csr_array(dense)
    matrix.indices, matrix.indptr = matrix.indices.astype(np.int64), matrix.indptr.astype(np.int64)
    return matrix


STORES: dict[str, Store] = {
    "csr matrix": lambda dense, _: sp.csr_matrix(dense),
    "csr array": lambda dense, _: sp.csr_array(dense),
    "csc matrix": lambda dense, _: sp.csc_matrix(dense),
    "csc array": lambda dense, _: sp.csc_array(dense),
    "csr, int64 columns": _long_index,
    "csr, unsorted, duplicates, zeros": lambda dense, _: messy_csr(dense),
    "csc, unsorted, duplicates, zeros": _messy_csc,
    "csr float32": lambda dense, _: sp.csr_matrix(dense.astype(np.float32)),
    "csr int64": lambda dense, _: sp.csr_matrix(dense).astype(np.int64),
    "csr uint16": lambda dense, _: sp.csr_matrix(dense).astype(np.uint16),
    "csc int32": lambda dense, _: sp.csc_matrix(dense).astype(np.int32),
    "dense": lambda dense, _: dense.copy(),
    "dense float32": lambda dense, _: dense.astype(np.float32),
    "dense uint16": lambda dense, _: dense.astype(np.uint16),
    "dense, column by column": lambda dense, _: np.asfortranarray(dense),
    "memory map": _memmap,
    "h5 dense": lambda dense, folder: _on_disk(_h5(folder), dense),
    "h5 csr": lambda dense, folder: _on_disk(_h5(folder), sp.csr_matrix(dense)),
    "h5 csc": lambda dense, folder: _on_disk(_h5(folder), sp.csc_matrix(dense)),
    "zarr dense": lambda dense, folder: _on_disk(_zarr(folder), dense),
    "zarr csr": lambda dense, folder: _on_disk(_zarr(folder), sp.csr_matrix(dense)),
    "zarr csc": lambda dense, folder: _on_disk(_zarr(folder), sp.csc_matrix(dense)),
    "dask dense": lambda dense, _: _dask(dense, np.asarray, 1),
    "dask csr": lambda dense, _: _dask(dense, sp.csr_matrix, 1),
    "dask csr array": lambda dense, _: _dask(dense, sp.csr_array, 1),
    "dask csc, columns cut": lambda dense, _: _dask(dense, sp.csc_matrix, 2),
}
FLOATS = [name for name in STORES if "int" not in name.replace("int64 columns", "")]


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[np.ndarray], Any]:
    """Put a dense matrix of whole numbers into one of the forms."""
    return lambda dense: STORES[request.param](dense, tmp_path)


@pytest.fixture(params=FLOATS)
def store_floats(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[np.ndarray], Any]:
    """Put a dense matrix of any numbers into one of the forms that bear them."""
    return lambda dense: STORES[request.param](dense, tmp_path)


@pytest.fixture
def counts() -> np.ndarray:
    """Counts of 23 cells x 11 genes, with an empty cell and an unseen gene."""
    dense = np.random.default_rng(0).poisson(0.7, (23, 11)).astype(float)
    dense[5], dense[:, 4] = 0, 0
    dense[7, 2] = 2**16 - 1
    return dense
