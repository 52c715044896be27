"""One way to read rows out of every kind of matrix that an AnnData can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from .._errors import InputError

DENSE_VALUES = 2**23  # values of a dense matrix that are read at a time: 32 MB as float32
_GAP = 64  # rows on disk that are read for nothing rather than by another read


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


def in_memory(matrix: Any) -> bool:
    """Whether numpy or scipy can index the matrix directly."""
    return isinstance(matrix, np.ndarray) or sp.issparse(matrix)


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


def canonical(piece: Any) -> sp.csr_matrix:
    """CSR float32 with sorted unique int32 columns and no stored zeros; shares memory where nothing has to change."""
    with np.errstate(over="ignore"):  # beyond float32 becomes infinite, which the caller reports with its place
        if isinstance(piece, np.ndarray):
            block = _from_dense(np.asarray(piece, dtype=np.float32, order="C"))
        else:
            csr = piece.tocsr()
            data, indices = csr.data.astype(np.float32, copy=False), csr.indices.astype(np.int32, copy=False)
            block = sp.csr_matrix((data, indices, csr.indptr.astype(np.int32, copy=False)), shape=csr.shape)
            _require_in_range(block)
    if not block.has_canonical_format:
        block = block.copy()
        block.sum_duplicates()
    if not block.data.all():
        block = block.copy()
        block.eliminate_zeros()
    return block


def _require_in_range(block: sp.csr_matrix) -> None:
    """Stop on columns beyond the last gene, which compiled loops would follow out of their arrays."""
    try:
        block.check_format(full_check=True)
    except ValueError as error:
        msg = f"Found a damaged sparse matrix: {error}; expected columns below {block.shape[1]}. Write the data again."
        raise InputError(msg) from error


def _from_dense(values: np.ndarray) -> sp.csr_matrix:
    """What ``csr_matrix(values)`` gives, three times as fast."""
    n, g = values.shape
    flat = np.flatnonzero(values != 0)
    first = np.arange(n + 1) * g
    indptr = np.searchsorted(flat, first)
    indices = flat - np.repeat(first[:-1], np.diff(indptr))
    return sp.csr_matrix((values.ravel()[flat], indices.astype(np.int32), indptr.astype(np.int32)), shape=(n, g))


def row_reader(matrix: Any) -> Callable[[int, int], sp.csr_matrix]:
    """Make a function that reads the rows from ``start`` to ``stop`` of a CSR or dense matrix."""
    if sparse_format(matrix) == "csr":
        parts = compressed(matrix)
        width = parts.shape[1]

        def read_sparse(start: int, stop: int) -> sp.csr_matrix:
            lo, hi = int(parts.indptr[start]), int(parts.indptr[stop])
            with np.errstate(over="ignore"):  # astype copies: the block may be changed, the matrix may not
                data = to_host(parts.data[lo:hi]).astype(np.float32)
            indices, indptr = to_host(parts.indices[lo:hi]).astype(np.int32), parts.indptr[start : stop + 1] - lo
            return canonical(sp.csr_matrix((data, indices, indptr.astype(np.int32)), shape=(stop - start, width)))

        return read_sparse

    step = max(1, DENSE_VALUES // max(1, int(matrix.shape[1])))

    def read_dense(start: int, stop: int) -> sp.csr_matrix:
        pieces = [canonical(to_host(matrix[i : min(i + step, stop)])) for i in range(start, stop, step)]
        return pieces[0] if len(pieces) == 1 else canonical(sp.vstack(pieces, format="csr"))

    return read_dense


def read_rows(matrix: Any, read: Callable[[int, int], sp.csr_matrix], rows: np.ndarray) -> sp.csr_matrix:
    """Rows in any order and number; from disk in long runs, in the order in which they are stored."""
    if len(rows) and (np.diff(rows) == 1).all():
        return read(int(rows[0]), int(rows[-1]) + 1)
    if in_memory(matrix):
        return canonical(np.asarray(matrix)[rows] if isinstance(matrix, np.ndarray) else matrix[rows])
    wanted, place = np.unique(rows, return_inverse=True)
    pieces = [read(lo, hi)[run - lo] for lo, hi, run in _runs(wanted)]
    if not pieces:
        return canonical(np.zeros((0, int(matrix.shape[1]))))
    return canonical(sp.vstack(pieces, format="csr")[place])


def _runs(rows: np.ndarray) -> Iterator[tuple[int, int, np.ndarray]]:
    for run in np.split(rows, np.flatnonzero(np.diff(rows) > _GAP) + 1):
        if len(run):
            yield int(run[0]), int(run[-1]) + 1, run


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
