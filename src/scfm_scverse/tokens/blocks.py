"""What every tokeniser does with a block before and after its rule."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = TypeVar("Float", np.float32, np.float64)


def parts_of(
    block: sp.csr_matrix, base: float = 0.0
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Return ``indptr``, ``indices`` and linear values of CSR rows, of the types that the kernels take.

    ``base`` is that of the logarithm that the values are in, 0 for linear values.
    """
    linear = to_linear(block.data.astype(np.float32, copy=False), base)
    return block.indptr.astype(np.int64), block.indices.astype(np.int32, copy=False), linear


def to_linear(values: NDArray[Float], base: float) -> NDArray[Float]:
    """Undo the logarithm of one plus each value, if they are in one (``base`` is not 0), in their own precision."""
    return values if base == 0 else np.asarray(np.expm1(values * values.dtype.type(np.log(base))))


def first_columns(positions: NDArray[np.int32], n_genes: int) -> NDArray[np.int64]:
    """First column of each entry of a vocabulary, -1 where it has none [v], given the position of each column [g]."""
    first = np.full(n_genes, -1, np.int64)
    columns = np.flatnonzero(positions >= 0)[::-1]  # of several columns of one gene the first is written last
    first[positions[columns]] = columns
    return first


def measured_genes(positions: NDArray[np.int32], n_genes: int) -> NDArray[np.bool_]:
    """Which entries of a vocabulary [v] have a column, given the position of each column, -1 for none [g]."""
    measured = np.zeros(n_genes, bool)
    measured[positions[positions >= 0]] = True
    return measured


def log_of_one_more(values: NDArray[np.float32]) -> None:
    """Take the logarithm of one plus each value, in place."""
    # Not log1p, which numpy does not vectorise: five times as fast, and off by less than 3e-7.
    values += np.float32(1)
    np.log(values, out=values)
