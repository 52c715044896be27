"""Loops over the non-zeros of a CSR block, compiled by numba and cached on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numpy.typing import NDArray


def _compiled(signature: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile for one signature, on import and not on first use."""

    def compile_(function: Callable[..., Any]) -> Callable[..., Any]:
        try:
            return nb.njit(signature, cache=True, nogil=True)(function)
        except RuntimeError:  # neither the package's folder nor the home can be written to: nowhere to keep the cache
            return nb.njit(signature, nogil=True)(function)

    return compile_


@_compiled("Tuple((int64[::1], int32[::1], float32[::1]))(int64[::1], int32[::1], float32[::1], int32[::1], int64)")
def gathered_tokens(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    n_genes: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Tokens of each row: value of each gene of the vocabulary, columns of one gene added up.

    Tokens stand in the order of the columns. ``first`` remembers where the row's token of a gene stands, so that no
    row needs a dense copy.
    """
    n = len(indptr) - 1
    out_indptr = np.zeros(n + 1, np.int64)
    # One more than there are values: a column that is not kept is written and then overwritten, which spares a branch.
    ids = np.empty(len(data) + 1, np.int32)
    values = np.empty(len(data) + 1, np.float32)
    first = np.full(n_genes, -1, np.int64)
    end = 0
    for row in range(n):
        start = stop = end
        for k in range(indptr[row], indptr[row + 1]):
            ids[stop] = columns[indices[k]]
            values[stop] = data[k]
            stop += ids[stop] >= 0
        for k in range(start, stop):
            gene = ids[k]
            if first[gene] >= start:
                values[first[gene]] += values[k]
            else:
                first[gene] = end
                ids[end] = gene
                values[end] = values[k]
                end += 1
        out_indptr[row + 1] = end
    return out_indptr, ids[:end], values[:end]


@_compiled("void(int64[::1], float32[::1], int64[::1], int32[::1], float32[::1], boolean[::1], float32)")
def scale_rows(
    out_indptr: NDArray[np.int64],
    values: NDArray[np.float32],
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    counted: NDArray[np.bool_],
    target: float,
) -> None:
    """Multiply each row's tokens by target / total of the row, in place; a row without counts stays."""
    for row in range(len(indptr) - 1):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += float(data[k]) if counted[indices[k]] else 0.0
        if total > 0:
            scale = np.float32(target / total)
            for k in range(out_indptr[row], out_indptr[row + 1]):
                values[k] *= scale
