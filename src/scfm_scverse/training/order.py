"""The order in which cells are gone through: any of a matrix in memory, nearly any at the speed of a disk."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..io._storage import Subset, is_dask, sparse_format
from ..io.blocks import n_rows

BUFFER = 4096  # cells that are read together from a disk and shuffled, at least
_BLOCK = 64, 256  # cells that stand together on a disk and are read together, at least and at most


def in_memory(matrix: Any) -> bool:
    """Whether any row of a matrix is as near as any other: in memory, and not stored by column."""
    stored: Any = matrix.matrix if isinstance(matrix, Subset) else matrix
    by_row = sparse_format(stored) == "csr" and sp.issparse(stored)
    arrays = (stored.data, stored.indices) if by_row else (stored,)
    return all(isinstance(array, np.ndarray) and not isinstance(array, np.memmap) for array in arrays)


def blocks_of(matrix: Any, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Block of each row on the disk, [n]: rows of one block are cheap to read together.

    A block is 64 rows, or as many as hold a chunk of the file or of dask, which is read and unpacked as a whole; but no
    more than 256, since the fewer blocks meet in a buffer, the more alike are its cells.
    """
    if isinstance(matrix, Subset):
        return blocks_of(matrix.matrix, matrix.rows[rows])
    return rows // int(np.clip(_rows_of_chunk(matrix), *_BLOCK))


def _rows_of_chunk(matrix: Any) -> int:
    if is_dask(matrix):
        return int(max(matrix.chunks[0]))
    if not hasattr(matrix, "group"):
        return int((getattr(matrix, "chunks", None) or (1,))[0])
    n_values = int(matrix.group["data"].shape[0])
    chunk = int((matrix.group["data"].chunks or (1,))[0])
    return ceil(chunk * n_rows(matrix) / max(1, n_values))


def permuted(rows: NDArray[np.int64], *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Every row once, in an order that depends on seed and epoch alone."""
    return np.random.default_rng((seed, epoch)).permutation(rows)


def permuted_blocks(
    rows: NDArray[np.int64], blocks: NDArray[np.int64], *, buffer: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Every row once: blocks in any order, and rows in any order among as many as fill a buffer.

    Parameters
    ----------
    rows
        int64 [n]: the rows to go through.
    blocks
        int64 [n]: block of each.
    buffer
        Rows that are shuffled together: the first so many of the order, the next, and so on.
    seed, epoch
        What the order depends on.
    """
    rng = np.random.default_rng((seed, epoch))
    block = np.unique(blocks, return_inverse=True)[1]
    place = rng.permutation(block.max(initial=-1) + 1)[block]
    order = rows[np.argsort(place, kind="stable")]
    for first in range(0, len(order), buffer):
        rng.shuffle(order[first : first + buffer])
    return order
