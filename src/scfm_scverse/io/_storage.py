"""One way to read rows out of every kind of matrix that an AnnData can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._errors import InputError

_DENSE_VALUES = 2**23  # values of a dense matrix that are read at a time: 32 MB as float32
_GAP = 8  # rows on disk that are read for nothing rather than by another read
_RUN = 1024  # rows on disk that are read together, at most


@dataclass(frozen=True)
class Compressed:
    """The three arrays of a CSR or CSC matrix; ``indices`` and ``data`` may stay on disk or on a GPU."""

    indptr: np.ndarray
    indices: Any
    data: Any
    shape: tuple[int, int]


@dataclass(frozen=True)
class Subset:
    """Chosen rows and columns of a matrix, read only when asked for: what a view of an AnnData shows."""

    matrix: Any
    rows: np.ndarray
    columns: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns that are shown."""
        return len(self.rows), len(self.columns)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values."""
        dtype: np.dtype[Any] = self.matrix.dtype
        return dtype


def sparse_format(matrix: Any) -> str | None:
    """``"csr"``, ``"csc"`` ... of a sparse matrix in memory, on disk or on a GPU; None for all others."""
    form = getattr(matrix, "format", None)
    return form if isinstance(form, str) and not is_dask(matrix) else None


def is_dask(matrix: Any) -> bool:
    """Whether this is a dask array (told without importing dask)."""
    return hasattr(matrix, "__dask_graph__")


def to_host(array: Any) -> np.ndarray:
    """Numpy array of what a slice of numpy, h5py, zarr or cupy gave."""
    return np.asarray(array.get() if type(array).__module__.startswith("cupy") else array)


def compressed(matrix: Any) -> Compressed:
    """The arrays of a sparse matrix, reading no more of them than ``indptr``."""
    if hasattr(matrix, "group"):
        indptr, indices, data = matrix.group["indptr"][...], matrix.group["indices"], matrix.group["data"]
    else:
        indptr, indices, data = matrix.indptr, matrix.indices, matrix.data
    n, g = matrix.shape
    return Compressed(to_host(indptr).astype(np.int64, copy=False), indices, data, (int(n), int(g)))


def row_length(matrix: Any) -> float:
    """Stored values of a row on average; of dask, which cannot tell, a tenth of the columns."""
    stored = matrix.matrix if isinstance(matrix, Subset) else matrix
    if sparse_format(stored) is None:
        return int(stored.shape[1]) * (0.1 if is_dask(stored) else 1.0)
    nnz = stored.group["indices"].shape[0] if hasattr(stored, "group") else stored.nnz
    return int(nnz) / max(1, int(stored.shape[0]))


def float32(values: np.ndarray) -> np.ndarray:
    """Copy as float32; what is too large becomes infinite, which the check of the values reports with its place."""
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def from_dense(values: np.ndarray) -> sp.csr_matrix:
    """What ``csr_matrix(values)`` gives, three times as fast."""
    n, g = values.shape
    values = np.ascontiguousarray(values)
    flat = np.flatnonzero(values != 0)
    first = np.arange(n + 1) * g
    indptr = np.searchsorted(flat, first)
    indices = flat - np.repeat(first[:-1], np.diff(indptr))
    arrays = float32(values.ravel()[flat]), indices.astype(np.int32), indptr.astype(np.int32)
    return sp.csr_matrix(arrays, shape=(n, g))


def canonical(rows: Any) -> sp.csr_matrix:
    """CSR float32 with sorted unique int32 columns and no stored zeros; shares memory where nothing has to change."""
    indices, indptr = rows.indices.astype(np.int32, copy=False), rows.indptr.astype(np.int32, copy=False)
    data = rows.data if rows.dtype == np.float32 else float32(rows.data)
    block = sp.csr_matrix((data, indices, indptr), shape=rows.shape)
    try:  # compiled loops would follow a column beyond the last gene out of their arrays
        block.check_format(full_check=True)
    except ValueError as error:
        msg = f"Found a damaged sparse matrix: {error}; expected columns below {block.shape[1]}. Write the data again."
        raise InputError(msg) from error
    if not block.has_canonical_format:
        block = block.copy()
        block.sum_duplicates()
    if not block.data.all():
        block = block.copy()
        block.eliminate_zeros()
    return block


def row_reader(matrix: Any) -> Callable[[int, int], sp.csr_matrix]:
    """Make a function that copies the rows from ``start`` to ``stop`` of a CSR or dense matrix."""
    if sparse_format(matrix) == "csr":
        parts = compressed(matrix)

        def read_sparse(start: int, stop: int) -> sp.csr_matrix:
            lo, hi = int(parts.indptr[start]), int(parts.indptr[stop])
            data, indices = float32(to_host(parts.data[lo:hi])), to_host(parts.indices[lo:hi]).astype(np.int32)
            indptr = (parts.indptr[start : stop + 1] - lo).astype(np.int32)
            return sp.csr_matrix((data, indices, indptr), shape=(stop - start, parts.shape[1]))

        return read_sparse

    step = max(1, _DENSE_VALUES // max(1, int(matrix.shape[1])))

    def read_dense(start: int, stop: int) -> sp.csr_matrix:
        pieces = [from_dense(to_host(matrix[i : min(i + step, stop)])) for i in range(start, stop, step)]
        return stack(pieces, int(matrix.shape[1]))

    return read_dense


def read_rows(matrix: Any, read: Callable[[int, int], sp.csr_matrix], rows: np.ndarray) -> sp.csr_matrix:
    """Rows in any order and number; from disk in long runs, in the order in which they are stored."""
    if len(rows) and (np.diff(rows) == 1).all():
        return read(int(rows[0]), int(rows[-1]) + 1)
    if isinstance(matrix, np.ndarray):
        return from_dense(np.asarray(matrix)[rows])
    if sp.issparse(matrix):
        chosen: sp.csr_matrix = matrix[rows]  # type: ignore[index]
        return chosen
    wanted, place = np.unique(rows, return_inverse=True)
    pieces = [read(lo, hi) if hi - lo == len(run) else read(lo, hi)[run - lo] for lo, hi, run in _runs(wanted)]
    return stack(pieces, int(matrix.shape[1]))[place]


def stack(pieces: list[sp.csr_matrix], width: int) -> sp.csr_matrix:
    """Put pieces on top of each other; no pieces make no rows."""
    if len(pieces) == 1:
        return pieces[0]
    return sp.csr_matrix(sp.vstack(pieces, format="csr")) if pieces else from_dense(np.zeros((0, width)))


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    """Chosen rows that stand close together, each group with its first row and the row after its last."""
    start = 0
    for end in range(1, len(rows) + 1):
        if end == len(rows) or rows[end] - rows[end - 1] > _GAP or rows[end] - rows[start] >= _RUN:
            yield int(rows[start]), int(rows[end - 1]) + 1, rows[start:end]
            start = end


def require_matrix(matrix: Any) -> None:
    """Stop early on what no reader understands."""
    shape = getattr(matrix, "shape", None)
    if shape is None or len(shape) != 2 or sparse_format(matrix) not in {None, "csr", "csc"}:
        what = getattr(matrix, "format", None) or type(matrix).__name__
        msg = f"Found a matrix of type {what} and shape {shape}; expected cells x genes as CSR, CSC or dense array."
        raise InputError(msg)
    if np.dtype(matrix.dtype).kind not in "biuf":
        msg = f"Found a matrix of {matrix.dtype} values; expected numbers. Convert it with adata.X.astype('float32')."
        raise InputError(msg)
    if not all(np.isfinite(shape)):
        msg = f"Found a dask array of unknown shape {shape}; expected known chunks: call compute_chunk_sizes() first."
        raise InputError(msg)
