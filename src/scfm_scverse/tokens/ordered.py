"""Tokens of each cell in the order of the vocabulary, and what they add up to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernels import _compiled

# A multiplication by this number brings six bits to the top of a word that tell which of its bits is set.
_DE_BRUIJN = np.uint64(0x03F79D71B4CB0A89)
_SIX_BITS = np.uint64(58)
_BIT = np.zeros(64, np.int32)
for _bit in range(64):
    _BIT[((int(_DE_BRUIJN) << _bit) & (2**64 - 1)) >> int(_SIX_BITS)] = _bit

Gathered = tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.float64]]


def ordered_tokens(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    n_genes: int,
) -> Gathered:
    """Tokens of CSR rows, ascending, columns of one gene added up.

    Parameters
    ----------
    indptr, indices, data
        The rows, columns ascending.
    columns
        Position in the vocabulary of each column, -1 where there is none.
    n_genes
        Size of the vocabulary.

    Returns
    -------
    indptr, ids and values of the tokens, and the sum of each row's values.
    """
    known = columns[columns >= 0]
    if (np.diff(known) > 0).all():
        kept: Gathered = _kept(indptr, indices, data, columns)
        return kept
    in_order: Gathered = _sorted(indptr, indices, data, columns, n_genes)
    return in_order


_SIGNATURE = (
    "Tuple((int64[::1], int32[::1], float32[::1], float64[::1]))(int64[::1], int32[::1], float32[::1], int32[::1]"
)


@_compiled(_SIGNATURE + ")")
def _kept(
    indptr: NDArray[np.int64], indices: NDArray[np.int32], data: NDArray[np.float32], columns: NDArray[np.int32]
) -> Gathered:
    """Tokens of rows whose columns stand in the order of the vocabulary, each for another gene."""
    n = len(indptr) - 1
    out_indptr = np.zeros(n + 1, np.int64)
    sums = np.zeros(n)
    # One more than there are values: a column that is not kept is written and then overwritten, which spares a branch.
    ids = np.empty(len(data) + 1, np.int32)
    values = np.empty(len(data) + 1, np.float32)
    end = 0
    for row in range(n):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            gene = columns[indices[k]]
            known = gene >= 0
            ids[end] = gene
            values[end] = data[k]
            total += float(data[k]) * known
            end += known
        sums[row] = total
        out_indptr[row + 1] = end
    return out_indptr, ids[:end], values[:end], sums


@_compiled(_SIGNATURE + ", int64)")
def _sorted(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    n_genes: int,
) -> Gathered:
    """Tokens of any rows: spread over a table of all genes, and read back word by word of the bits of those found."""
    n = len(indptr) - 1
    value = np.zeros(n_genes, np.float32)
    words = np.zeros(n_genes // 64 + 1, np.uint64)
    one, zero = np.uint64(1), np.uint64(0)
    out_indptr = np.zeros(n + 1, np.int64)
    sums = np.zeros(n)
    ids = np.empty(len(data), np.int32)
    values = np.empty(len(data), np.float32)
    end = 0
    for row in range(n):
        for k in range(indptr[row], indptr[row + 1]):
            gene = columns[indices[k]]
            if gene >= 0:
                value[gene] += data[k]
                words[gene >> 6] |= one << np.uint64(gene & 63)
        total = 0.0
        for place in range(len(words)):
            word = words[place]
            words[place] = zero
            while word != zero:
                lowest = word & (~word + one)
                gene = (place << 6) + _BIT[(lowest * _DE_BRUIJN) >> _SIX_BITS]
                ids[end] = gene
                values[end] = value[gene]
                total += float(value[gene])
                value[gene] = 0
                end += 1
                word ^= lowest
        sums[row] = total
        out_indptr[row + 1] = end
    return out_indptr, ids[:end], values[:end], sums
