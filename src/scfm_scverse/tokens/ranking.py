"""Rank the genes of each row of a CSR block, compiled by numba and cached on disk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernels import _compiled

DIGIT = 9  # bits of a digit of the radix sort, which sorts by two of them: 2**14 steps an octave over 16 octaves
PATIENCE = 16  # steps a value that insertion may take before sorting by comparison is the faster way
POSITION = np.uint64(32)  # a word holds the place that a value belongs to above this bit, and its position below


@_compiled("void(int64[::1], int32[::1], float32[::1], int32[::1], boolean[::1], int64[::1])")
def add_up(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    slots: NDArray[np.int32],
    shared: NDArray[np.bool_],
    place: NDArray[np.int64],
) -> None:
    """Give the first value of each slot in a row the sum of all, in place, and make the others -1.

    ``shared`` tells the columns whose slot others share; ``place`` is all -1, one for each slot.
    """
    for row in range(len(indptr) - 1):
        for k in range(indptr[row], indptr[row + 1]):
            if shared[indices[k]]:
                slot = slots[indices[k]]
                if place[slot] >= indptr[row]:
                    data[place[slot]] += data[k]
                    data[k] = -1
                else:
                    place[slot] = k


@_compiled("int64(float32[::1], int32, uint64[::1], uint64[::1], uint32[::1], uint32[::1])")
def _deal(
    rough: NDArray[np.float32],
    centre: np.int32,
    packed: NDArray[np.uint64],
    dealt: NDArray[np.uint64],
    first: NDArray[np.uint32],
    second: NDArray[np.uint32],
) -> np.int64:
    """Sort the positions of rough values from large to small, negative ones left out; return how many.

    The bits of positive floats order as the numbers do, so the leading ones say where a value belongs. What lies far
    from ``centre`` shares the first or the last place.
    """
    bits = rough.view(np.int32)
    digit, shift = np.uint64(DIGIT), np.int32(23 + 4 - 2 * DIGIT)
    last, mask = np.int32(2 ** (2 * DIGIT) - 1), (np.uint64(1) << digit) - np.uint64(1)
    kept = np.uint64(0)
    for k in range(len(rough)):
        place = max(np.int32(0), min(last, centre - (bits[k] >> shift)))
        packed[kept] = np.uint64(place) << POSITION | np.uint64(k)
        kept += np.uint64(bits[k] >= 0)
    m = np.int64(kept)
    first[:], second[:] = 0, 0
    for k in range(m):
        where = packed[k] >> POSITION
        first[where & mask] += np.uint32(1)
        second[where >> digit] += np.uint32(1)
    before_first, before_second = np.uint32(0), np.uint32(0)
    for k in range(len(first)):
        first[k], before_first = before_first, before_first + first[k]
        second[k], before_second = before_second, before_second + second[k]
    for k in range(m):
        here = (packed[k] >> POSITION) & mask
        dealt[first[here]] = packed[k]
        first[here] += np.uint32(1)
    for k in range(m):
        here = dealt[k] >> POSITION >> digit
        packed[second[here]] = dealt[k]
        second[here] += np.uint32(1)
    return m


@_compiled("boolean(uint64[::1], int32[::1], float32[::1], float64[::1], int32[::1])")
def _finish(
    packed: NDArray[np.uint64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    medians: NDArray[np.float64],
    slots: NDArray[np.int32],
) -> bool:
    """Bring words that are sorted by place to the exact order of value / median, ties by slot; False if it gives up.

    A rough value is off by less than a place, so only neighbours in one place or the next need a look.
    """
    steps = PATIENCE * len(packed)
    for k in range(1, len(packed)):
        mine, at = packed[k], k
        if (mine >> POSITION) - (packed[k - 1] >> POSITION) > np.uint64(1):
            continue
        column = np.uint32(indices[np.uint32(mine)])
        value = data[np.uint32(mine)] / medians[column]
        while at > 0:
            before = np.uint32(packed[at - 1])
            other = np.uint32(indices[before])
            above = data[before] / medians[other]
            if above > value or (above == value and slots[other] <= slots[column]):
                break
            packed[at] = packed[at - 1]
            at -= 1
        packed[at] = mine
        steps -= k - at
        if steps < 0:
            return False
    return True


@_compiled("void(uint64[::1], int32[::1], float32[::1], float64[::1], int32[::1])")
def _compare(
    packed: NDArray[np.uint64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    medians: NDArray[np.float64],
    slots: NDArray[np.int32],
) -> None:
    """Bring words of any order to the exact one, by comparison."""
    columns, value = np.empty(len(packed), np.int32), np.empty(len(packed), np.float64)
    for k in range(len(packed)):
        columns[k] = indices[np.uint32(packed[k])]
        value[k] = data[np.uint32(packed[k])] / medians[columns[k]]
    by_slot = np.argsort(slots[columns], kind="mergesort")
    packed[:] = packed[by_slot[np.argsort(-value[by_slot], kind="mergesort")]]


@_compiled(
    "Tuple((int64[::1], int32[::1], float32[::1]))(int64[::1], int32[::1], float32[::1], int32[::1], int32[::1],"
    " float64[::1], int32[::1], int64)"
)
def ranked_tokens(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    slots: NDArray[np.int32],
    genes: NDArray[np.int32],
    medians: NDArray[np.float64],
    around: NDArray[np.int32],
    context: int,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Tokens of each row by decreasing value / median, ties by slot, cut to ``context``.

    ``slots``, ``genes`` and ``medians`` tell of each column where ties put it (-1: it gives no token), its gene and
    its median. Negative values give none. ``around`` holds the tokens before and after the genes, or nothing; a row
    without genes gets none.
    """
    n, room = len(indptr) - 1, context - len(around)
    lengths = indptr[1:] - indptr[:-1]
    longest = lengths.max() if n else 0
    most = np.minimum(lengths, room).sum() + n * len(around)
    out_indptr, ids, values = np.zeros(n + 1, np.int64), np.empty(most, np.int32), np.empty(most, np.float32)
    scale = np.where(slots < 0, -1.0, 1 / medians).astype(np.float32)
    rough = np.empty(longest + 1, np.float32)
    rough[0] = data.mean() if len(data) else 1.0
    centre = np.int32((rough.view(np.int32)[0] >> np.int32(27 - 2 * DIGIT)) + 2 ** (2 * DIGIT - 1))
    # One word more than there are values: one that is not kept is written and then overwritten, which spares a branch.
    packed, dealt = np.empty(longest + 1, np.uint64), np.empty(longest + 1, np.uint64)
    first, second = np.empty(1 << DIGIT, np.uint32), np.empty(1 << DIGIT, np.uint32)
    end = 0
    for row in range(n):
        columns, counts = indices[indptr[row] : indptr[row + 1]], data[indptr[row] : indptr[row + 1]]
        for k in range(len(columns)):
            rough[k] = counts[k] * scale[columns[k]]
        m = _deal(rough[: len(columns)], centre, packed, dealt, first, second)
        if m > 0:
            if not _finish(packed[:m], columns, counts, medians, slots):
                _compare(packed[:m], columns, counts, medians, slots)
            if len(around):
                ids[end], values[end] = around[0], 0
                end += 1
            for k in range(min(m, room)):
                at = np.uint32(packed[k])
                ids[end], values[end] = genes[np.uint32(columns[at])], counts[at]
                end += 1
            if len(around):
                ids[end], values[end] = around[1], 0
                end += 1
        out_indptr[row + 1] = end
    return out_indptr, ids[:end], values[:end]
