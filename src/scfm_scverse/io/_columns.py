"""Rows out of matrices that are stored by column (CSC), without converting them as a whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp

from ._storage import Compressed, float32, to_host

_PIECE = 2**20  # stored entries looked at together
_STRETCH = 2**24  # stored entries kept in memory when the columns have to be read in several passes: 128 MB


def iter_rows(parts: Compressed, size: int, rows: np.ndarray | None = None) -> Iterator[sp.csr_matrix]:
    """Blocks of ``size`` rows: of all rows in order, or of those named.

    Sorted columns in memory are walked once, each with its own cursor: the cost is that of the stored values. From
    disk, unsorted, or for named rows the columns are read once per stretch of rows that fits into memory.
    """
    if rows is None and isinstance(parts.indices, np.ndarray) and _is_sorted(parts):
        yield from _walk(parts, size)
    else:
        yield from _passes(parts, np.arange(parts.shape[0]) if rows is None else rows, size)


def row_lengths(parts: Compressed) -> np.ndarray:
    """Stored entries of every row."""
    lengths = np.zeros(parts.shape[0], dtype=np.int64)
    for lo, hi, _ in _pieces(parts):
        lengths += np.bincount(to_host(parts.indices[lo:hi]), minlength=len(lengths))
    return lengths


def select_rows(parts: Compressed, rows: np.ndarray, lengths: np.ndarray) -> sp.csr_matrix:
    """Chosen rows, none twice, with the number of their entries, in one pass over the columns."""
    slot_of = np.full(parts.shape[0], -1, dtype=np.int32)
    slot_of[rows] = np.arange(len(rows))
    indptr = np.concatenate(([0], np.cumsum(lengths)))
    indices, data = np.empty(indptr[-1], dtype=np.int32), np.empty(indptr[-1], dtype=np.float32)
    fill = indptr[:-1].copy()
    for lo, hi, columns in _pieces(parts):
        slots = slot_of[to_host(parts.indices[lo:hi])]
        take = np.flatnonzero(slots >= 0)
        take = take[np.argsort(slots[take], kind="stable")]
        slots = slots[take]
        at = fill[slots] + np.arange(len(slots)) - np.searchsorted(slots, slots)  # how many of its row came before
        indices[at], data[at] = columns[take], float32(to_host(parts.data[lo:hi])[take])
        fill += np.bincount(slots, minlength=len(fill))
    return sp.csr_matrix((data, indices, indptr), shape=(len(rows), parts.shape[1]))


def _pieces(parts: Compressed) -> Iterator[tuple[int, int, np.ndarray]]:
    """Runs of stored entries, each with the column of every entry."""
    indptr = parts.indptr
    for lo in range(0, int(indptr[-1]), _PIECE):
        hi = min(lo + _PIECE, int(indptr[-1]))
        first, last = np.searchsorted(indptr, lo, side="right") - 1, np.searchsorted(indptr, hi, side="left")
        lengths = np.diff(np.clip(indptr[first : last + 1], lo, hi))
        yield lo, hi, np.repeat(np.arange(first, last, dtype=np.int32), lengths)


def _is_sorted(parts: Compressed) -> bool:
    for lo in range(0, int(parts.indptr[-1]), _PIECE):
        run = parts.indices[lo : lo + _PIECE + 1]  # one more, so that no neighbours are missed between runs
        falls = np.flatnonzero(run[1:] < run[:-1]) + lo + 1
        if not np.isin(falls, parts.indptr).all():
            return False
    return True


def _walk(parts: Compressed, size: int) -> Iterator[sp.csr_matrix]:
    n, g = parts.shape
    low, ends = parts.indptr[:-1], parts.indptr[1:]
    for start in range(0, n, size):
        stop = min(start + size, n)
        high = _first_at_least(parts.indices, low, ends, stop)
        indptr = np.concatenate(([0], np.cumsum(high - low)))
        take = np.arange(indptr[-1]) + np.repeat(low - indptr[:-1], high - low)
        arrays = parts.data[take], parts.indices[take].astype(np.int64) - start, indptr
        yield sp.csc_matrix(arrays, shape=(stop - start, g)).tocsr()
        low = high


def _first_at_least(indices: np.ndarray, low: np.ndarray, high: np.ndarray, row: int) -> np.ndarray:
    """Binary search for ``row`` in every column at once, between the positions ``low`` and ``high``."""
    low, high = low.copy(), high.copy()
    while (open_ := np.flatnonzero(low < high)).size:
        middle = (low[open_] + high[open_]) // 2
        before = indices[middle] < row
        low[open_[before]] = middle[before] + 1
        high[open_[~before]] = middle[~before]
    return low


def _passes(parts: Compressed, rows: np.ndarray, size: int) -> Iterator[sp.csr_matrix]:
    lengths = row_lengths(parts)
    start, n = 0, len(rows)
    while start < n:
        stop, total = start, 0
        while stop < n and (stop == start or total + lengths[rows[stop : stop + size]].sum() <= _STRETCH):
            total += lengths[rows[stop : stop + size]].sum()
            stop = min(stop + size, n)
        wanted, place = np.unique(rows[start:stop], return_inverse=True)
        stretch = select_rows(parts, wanted, lengths[wanted])
        for block in range(0, stop - start, size):
            yield stretch[place[block : block + size]]
        start = stop
