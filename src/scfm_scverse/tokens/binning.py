"""Loops of the quantile bins: the bins that a value may take, the choice among them, the tokens of long cells."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernels import _compiled

_ODD = np.uint64(0x9E3779B97F4A7C15)


@_compiled("uint64(uint64)")
def _mixed(x: np.uint64) -> np.uint64:
    """Spread the bits of a number over all 64: the last step of splitmix64, a bijection."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@_compiled("uint64(int32[::1], uint64)")
def _cell_key(ids: NDArray[np.int32], seed: np.uint64) -> np.uint64:
    """Return a number for a set of genes, whatever their order."""
    total = seed * _ODD
    for gene in ids:
        total += _mixed((np.uint64(gene) + np.uint64(1)) * _ODD)
    key: np.uint64 = _mixed(total)
    return key


@_compiled("uint64(uint64, int32)")
def _token_number(key: np.uint64, gene: int) -> np.uint64:
    """Return a random number for a gene of a cell; those of a cell are all different."""
    number: np.uint64 = _mixed(key + np.uint64(gene) * _ODD)
    return number


@_compiled("int64(int32[::1], float32[::1], int32[::1], int64[::1], int32[::1], float32[::1])")
def _gather(
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    seen: NDArray[np.int64],
    ids: NDArray[np.int32],
    values: NDArray[np.float32],
) -> int:
    """Write the genes of the vocabulary that a cell expresses; ``seen``, all -1, adds up columns of one gene."""
    n = 0
    if len(seen) == 0:
        for k in range(len(indices)):
            # Written in any case and then overwritten, which spares a branch.
            ids[n], values[n] = columns[indices[k]], data[k]
            n += ids[n] >= 0
        return n
    for k in range(len(indices)):
        gene = columns[indices[k]]
        if gene >= 0 and seen[gene] >= 0:
            values[seen[gene]] += data[k]
        elif gene >= 0:
            seen[gene], ids[n], values[n] = n, gene, data[k]
            n += 1
    for k in range(n):
        seen[ids[k]] = -1
    return n


@_compiled("int64(float32[::1], int32[::1], float32[::1], int32[::1], int32[::1], int32[::1])")
def _distinct(
    values: NDArray[np.float32],
    slot: NDArray[np.int32],
    found: NDArray[np.float32],
    counts: NDArray[np.int32],
    table: NDArray[np.int32],
    used: NDArray[np.int32],
) -> int:
    """Number the distinct values of a cell as they come; ``slot`` gets the number of each token's value.

    ``table`` is a hash table, a power of two long and at most half full; it comes and goes empty, all -1.
    """
    n = 0
    mask = np.uint32(len(table) - 1)
    bits = values.view(np.uint32)
    for k in range(len(values)):
        mixed = bits[k] * np.uint32(2654435769)
        at = (mixed ^ (mixed >> np.uint32(15))) & mask
        while table[at] >= 0 and found[table[at]] != values[k]:
            at = (at + np.uint32(1)) & mask
        if table[at] < 0:
            table[at] = n
            used[n], found[n], counts[n] = at, values[k], 0
            n += 1
        slot[k] = table[at]
        counts[table[at]] += 1
    for i in range(n):
        table[used[i]] = -1
    return n


@_compiled("void(float32[::1], int32[::1], float64[::1], float64[::1])")
def _edges(
    distinct: NDArray[np.float32], ends: NDArray[np.int32], shares: NDArray[np.float64], edges: NDArray[np.float64]
) -> None:
    """Quantiles of sorted values that repeat up to these positions, in the very arithmetic of ``numpy.quantile``."""
    n, at = ends[-1], 0
    for q in range(len(shares)):
        where = (n - 1) * shares[q]
        before = min(int(np.floor(where)), n - 1)
        while ends[at] <= before:
            at += 1
        low = distinct[at]
        high = distinct[at + 1] if ends[at] <= before + 1 and before + 1 < n else low
        part = where - before
        step = np.float64(high - low)
        edges[q] = low + step * part if part < 0.5 else high - step * (1 - part)


@_compiled("void(float32[::1], float64[::1], int16[::1], int16[::1], int32[:, ::1], int32[::1])")
def _ranges(
    values: NDArray[np.float32],
    shares: NDArray[np.float64],
    highest: NDArray[np.int16],
    ties: NDArray[np.int16],
    work: NDArray[np.int32],
    table: NDArray[np.int32],
) -> None:
    """Highest bin of each token of a cell, and how many edges its value equals."""
    slot, used, counts = work[0], work[1], work[2]
    found = work[3].view(np.float32)
    n = _distinct(values, slot, found, counts, table, used)
    order = np.argsort(found[:n])
    distinct, ends = np.empty(n, np.float32), np.empty(n, np.int32)
    end = 0
    for i in range(n):
        end += counts[order[i]]
        distinct[i], ends[i] = found[order[i]], end
    edges = np.empty(len(shares), np.float64)
    _edges(distinct, ends, shares, edges)
    top, equal = used, counts  # both have been read
    below = 0
    for i in range(n):
        while below < len(edges) and edges[below] < distinct[i]:
            below += 1
        upto = below
        while upto < len(edges) and edges[upto] <= distinct[i]:
            upto += 1
        top[order[i]], equal[order[i]] = upto, upto - below
    for k in range(len(values)):
        highest[k], ties[k] = top[slot[k]], equal[slot[k]]


@_compiled("Tuple((int32[:, ::1], int32[::1]))(int64[::1])")
def _workspace(indptr: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    longest = 1
    for cell in range(len(indptr) - 1):
        longest = max(longest, indptr[cell + 1] - indptr[cell])
    size = 64
    while size < 2 * longest:
        size *= 2
    return np.empty((4, longest), np.int32), np.full(size, -1, np.int32)


@_compiled("Tuple((int16[::1], int16[::1]))(int64[::1], float32[::1], float64[::1])")
def bin_ranges(
    indptr: NDArray[np.int64], values: NDArray[np.float32], shares: NDArray[np.float64]
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return the highest bin of each token, and how many edges its value equals, among the quantiles of its cell.

    The bins of a value that equals ``n > 1`` edges are the highest one and the ``n - 1`` below it.
    """
    highest, ties = np.empty(len(values), np.int16), np.empty(len(values), np.int16)
    work, table = _workspace(indptr)
    for cell in range(len(indptr) - 1):
        at = slice(indptr[cell], indptr[cell + 1])
        if at.stop > at.start:
            _ranges(values[at], shares, highest[at], ties[at], work, table)
    return highest, ties


@_compiled("uint64(uint64[::1], int64)")
def _smallest(numbers: NDArray[np.uint64], n: int) -> np.uint64:
    """Return the ``n``-th smallest of numbers that are all different, by counting 11 bits after the other."""
    prefix, shift = np.uint64(0), 64
    counts = np.empty(2048, np.int64)
    while shift > 0:
        width = min(11, shift)
        shift -= width
        counts[:] = 0
        low = np.uint64(shift)
        for number in numbers:
            # Numbers that begin as the one that is looked for; a shift by 64 is not defined.
            if shift + width == 64 or number >> np.uint64(shift + width) == prefix:
                counts[(number >> low) & np.uint64((1 << width) - 1)] += 1
        digit = 0
        while n > counts[digit]:
            n -= counts[digit]
            digit += 1
        prefix = (prefix << np.uint64(width)) | np.uint64(digit)
        if counts[digit] == 1:
            break
    found = prefix
    for number in numbers:
        if number >> np.uint64(shift) == prefix:
            found = number
    return found


@_compiled("void(int32[::1], float32[::1], uint64, int64, uint64[::1])")
def _ranks(
    ids: NDArray[np.int32], values: NDArray[np.float32], key: np.uint64, top: int, ranks: NDArray[np.uint64]
) -> None:
    """Order in which the tokens of a cell are kept: drawn, or the largest values first."""
    bits = values.view(np.uint32)
    for k in range(len(ids)):
        if top:
            # Bits of positive floats are in the order of the floats; equal values go by the order of the columns.
            ranks[k] = (np.uint64(~bits[k]) << np.uint64(32)) | np.uint64(k)
        else:
            number = _token_number(key, ids[k])
            # The upper half chose the bin; what is kept must not depend on that.
            ranks[k] = (number << np.uint64(32)) | (number >> np.uint64(32))


@_compiled("uint64[::1](int64[::1], int32[::1], float32[::1], int32[::1], int64[::1], uint64)")
def cell_keys(
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    seen: NDArray[np.int64],
    seed: np.uint64,
) -> NDArray[np.uint64]:
    """Return a number for the set of genes of the vocabulary that each row expresses; ``seen`` as of the tokens."""
    keys = np.empty(len(indptr) - 1, np.uint64)
    longest = 1
    for cell in range(len(keys)):
        longest = max(longest, indptr[cell + 1] - indptr[cell])
    ids, values = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.float32)
    for cell in range(len(keys)):
        at = slice(indptr[cell], indptr[cell + 1])
        found = _gather(indices[at], data[at], columns, seen, ids, values)
        keys[cell] = _cell_key(ids[:found], seed)
    return keys


@_compiled(
    "Tuple((int64[::1], int32[::1], float32[::1]))(int64[::1], int32[::1], float32[::1], int32[::1], int64[::1], "
    "float64[::1], uint64[::1], int64, int64, int64, int32, float32)"
)
def binned_tokens(  # noqa: PLR0917 (compiled functions take no keywords)
    indptr: NDArray[np.int64],
    indices: NDArray[np.int32],
    data: NDArray[np.float32],
    columns: NDArray[np.int32],
    seen: NDArray[np.int64],
    shares: NDArray[np.float64],
    keys: NDArray[np.uint64],
    place: int,
    top: int,
    room: int,
    first: int,
    first_value: float,
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Tokens of each row: one in front, then the genes of the vocabulary with their bins, ``room`` of them at most.

    ``keys`` decide what is drawn in each row. ``place`` is where in its range the bin of a tied value lies, from the
    highest (0) to the lowest (2**32), or -1 to draw it. ``top`` is 1 to keep the largest values of a longer row, 0 to
    draw them. ``seen`` is empty where no two columns are one gene, else a -1 for each gene.
    """
    n = len(indptr) - 1
    out_indptr = np.zeros(n + 1, np.int64)
    out_ids, out_bins = np.empty(len(data) + n + 1, np.int32), np.empty(len(data) + n + 1, np.float32)
    work, table = _workspace(indptr)
    longest = work.shape[1]
    values, ranks = np.empty(longest + 1, np.float32), np.empty(longest, np.uint64)
    highest, ties = np.empty(longest, np.int16), np.empty(longest, np.int16)
    end = 0
    for cell in range(n):
        at = slice(indptr[cell], indptr[cell + 1])
        # One more than there are: a column that is not kept is written and then overwritten.
        ids = out_ids[end + 1 : end + 2 + at.stop - at.start]
        found = _gather(indices[at], data[at], columns, seen, ids, values)
        if found > 0:
            ids, bins = ids[:found], out_bins[end + 1 : end + 1 + found]
            _ranges(values[:found], shares, highest[:found], ties[:found], work, table)
            key = keys[cell]
            for k in range(found):
                part = _token_number(key, ids[k]) >> np.uint64(32) if place < 0 else np.uint64(place)
                bins[k] = highest[k] - np.int64((part * np.uint64(ties[k])) >> np.uint64(32))
            kept = found
            if found > room:
                _ranks(ids, values[:found], key, top, ranks)
                last = _smallest(ranks[:found], room)
                kept = 0
                for k in range(found):
                    ids[kept], bins[kept] = ids[k], bins[k]
                    kept += ranks[k] <= last
            out_ids[end], out_bins[end] = first, first_value
            end += 1 + kept
        out_indptr[cell + 1] = end
    return out_indptr, out_ids[:end], out_bins[:end]
