"""Rows of any matrix as CSR blocks, in order, with memory bounded by the block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from .._errors import CountsError, InputError
from .._logging import say
from .._settings import settings
from . import _columns
from ._storage import (
    Subset,
    canonical,
    compressed,
    from_dense,
    is_dask,
    read_rows,
    require_matrix,
    row_reader,
    sparse_format,
    stack,
)

if TYPE_CHECKING:
    import pandas as pd

    Names: TypeAlias = "Sequence[str] | pd.Index[Any]"


def n_rows(matrix: Any) -> int:
    """Return the number of cells of a matrix."""
    return int(matrix.shape[0])


def iter_blocks(
    matrix: Any,
    *,
    block_size: int | None = None,
    names: Names | None = None,
    genes: Names | None = None,
) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield the rows of a matrix, block by block, in the order in which they are stored.

    The matrix is never converted as a whole. What the blocks hold does not depend on how the matrix is stored nor on
    the block size.

    Parameters
    ----------
    matrix
        Cells x genes: CSR or CSC, dense, memory-mapped, an HDF5 or zarr array, backed sparse, dask, cupy sparse, or
        what :func:`~scfm_scverse.io.counts.find_values` returned as ``matrix``.
    block_size
        Cells per block; ``None`` takes ``settings.block_size``.
    names
        Cell names for error messages.
    genes
        Gene names for error messages.

    Yields
    ------
    The position of the block's first cell, and the block: CSR float32, columns sorted and unique, no stored zeros,
    every value finite and positive. It is a copy: changing it does not change the matrix.

    Raises
    ------
    CountsError
        A value is negative, NaN or infinite; the message names the first such cell and its gene.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.io.blocks import iter_blocks
    >>> [(start, block.toarray().tolist()) for start, block in iter_blocks(np.eye(3), block_size=2)]
    [(0, [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (2, [[0.0, 0.0, 1.0]])]
    """
    require_matrix(matrix)
    size = settings.block_size if block_size is None else block_size
    if size < 1:
        msg = f"Found block_size={size}; expected at least 1 cell per block."
        raise InputError(msg)
    start = 0
    for piece in _pieces(matrix, size):
        block = canonical(piece)
        _check(block, start, names, genes)
        yield start, block
        start += block.shape[0]


def spread_rows(matrix: Any, wanted: int) -> np.ndarray:
    """Choose positions of cells from all over a matrix: short runs, since every place costs a read."""
    n = n_rows(matrix)
    if wanted >= n:
        return np.arange(n)
    places = min(wanted, 5 if is_dask(matrix) else 64)
    length = wanted // places
    starts = np.linspace(0, n - length, places).astype(int)
    return np.unique(starts[:, None] + np.arange(length))


def take_rows(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
    """Read chosen cells (by position, in any order) as one canonical CSR block, values unchecked."""
    require_matrix(matrix)
    return canonical(_rows(matrix, rows))


def _rows(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
    if isinstance(matrix, Subset):
        return _rows(matrix.matrix, matrix.rows[rows])[:, matrix.columns]
    if is_dask(matrix):
        return _dask_take(matrix, rows)
    if sparse_format(matrix) == "csc":
        parts = compressed(matrix)
        wanted, order = np.unique(rows, return_inverse=True)
        return _columns.select_rows(parts, wanted, _columns.row_lengths(parts)[wanted])[order]
    return read_rows(matrix, row_reader(matrix), rows)


def _pieces(matrix: Any, size: int) -> Iterator[sp.csr_matrix]:
    n = n_rows(matrix)
    if is_dask(matrix):
        yield from _regroup(_dask_pieces(matrix, size), size)
        return
    shown = matrix if isinstance(matrix, Subset) else None
    stored = matrix if shown is None else shown.matrix
    if sparse_format(stored) == "csc":
        if hasattr(stored, "group"):
            say("reading a matrix stored by gene (CSC) from disk; stored by cell (CSR) it is read faster")
        pieces = _columns.iter_rows(compressed(stored), size, None if shown is None else shown.rows)
    else:
        read = row_reader(stored)
        rows = np.arange(n) if shown is None else shown.rows
        pieces = (read_rows(stored, read, rows[start : start + size]) for start in range(0, n, size))
    yield from pieces if shown is None else (piece[:, shown.columns] for piece in pieces)


def _dask_pieces(matrix: Any, size: int) -> Iterator[sp.csr_matrix]:
    """Chunks of a dask array, as many together as make a block, on whatever scheduler is active."""
    waiting: list[int] = []
    rows = 0
    for chunk, length in enumerate(matrix.chunks[0]):
        if waiting and rows + length > size:
            yield _dask_rows(matrix, waiting)
            waiting, rows = [], 0
        waiting.append(chunk)
        rows += length
    if waiting:
        yield _dask_rows(matrix, waiting)


def _dask_rows(matrix: Any, chunks: list[int]) -> sp.csr_matrix:
    from dask.base import compute

    rows = compute(*[list(row) for row in matrix.to_delayed()[chunks]])  # type: ignore[no-untyped-call]
    return stack([sp.hstack([_chunk(part) for part in row], format="csr") for row in rows], int(matrix.shape[1]))


def _chunk(part: Any) -> sp.csr_matrix:
    """One computed chunk of a dask array, which may have been made on a GPU."""
    if type(part).__module__.startswith("cupy"):
        part = part.get()
    return from_dense(part) if isinstance(part, np.ndarray) else part.tocsr()


def _dask_take(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
    starts = np.array([0, *accumulate(matrix.chunks[0])])
    wanted, place = np.unique(rows, return_inverse=True)
    chunk_of = np.searchsorted(starts, wanted, side="right") - 1
    pieces = [_dask_rows(matrix, [chunk])[wanted[chunk_of == chunk] - starts[chunk]] for chunk in np.unique(chunk_of)]
    return stack(pieces, int(matrix.shape[1]))[place]


def _regroup(pieces: Iterator[sp.csr_matrix], size: int) -> Iterator[sp.csr_matrix]:
    """Cut and join pieces of any length into blocks of ``size`` rows."""
    waiting: list[sp.csr_matrix] = []
    rows = 0
    for piece in pieces:
        waiting.append(piece)
        rows += piece.shape[0]
        if rows >= size:
            joined = stack(waiting, piece.shape[1])
            whole = rows - rows % size
            for start in range(0, whole, size):
                yield joined[start : start + size]
            waiting, rows = [joined[whole:]], rows - whole
    if rows:
        yield stack(waiting, waiting[0].shape[1])


def _check(block: sp.csr_matrix, start: int, names: Names | None, genes: Names | None) -> None:
    if block.nnz == 0:
        return
    lowest, highest = block.data.min(), block.data.max()  # NaN carries through both
    if lowest > 0 and np.isfinite(highest):
        return
    at = int(np.flatnonzero(~(np.isfinite(block.data) & (block.data > 0)))[0])
    row = start + int(np.searchsorted(block.indptr, at, side="right")) - 1
    column = int(block.indices[at])
    msg = (
        f"Found the value {block.data[at]} in {place(row, names, column, genes)}; expected finite values of 0 or more. "
        "Pass layer= or use_raw=True to read another matrix, or remove such cells first."
    )
    raise CountsError(msg)


def place(row: int, names: Names | None, column: int, genes: Names | None) -> str:
    """Name a cell and a gene by position and, where known, by name."""
    cell = f"cell {row}" if names is None else f"cell {row} ({names[row]})"
    gene = f"gene column {column}" if genes is None else f"gene column {column} ({genes[column]})"
    return f"{cell}, {gene}"
