"""The cells that edited copies are compared with, each once, in groups that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..tokens import Tokens
from .edits import shorten


@dataclass(frozen=True)
class Baselines:
    """Cells to compare with, the longest first.

    Attributes
    ----------
    tokens
        Their tokens [m].
    of
        int64 [p]: which of them each copy is compared with.
    """

    tokens: Tokens
    of: NDArray[np.int64]

    def groups(self, budget: int, batch_size: int | None = None) -> Iterator[tuple[slice, NDArray[np.int64]]]:
        """Cut the cells as :func:`cut` does; yield those of a group and the copies that are compared with them."""
        order = np.argsort(self.of, kind="stable")
        first = np.searchsorted(self.of[order], np.arange(len(self.tokens) + 1))
        for cells in cut(self.tokens.lengths, budget, batch_size):
            yield cells, order[first[cells.start] : first[cells.stop]]


def find_baselines(
    tokens: Tokens, cell: NDArray[np.int64], excess: NDArray[np.int64], special: NDArray[np.bool_]
) -> Baselines:
    """Find the cells that copies are compared with.

    Parameters
    ----------
    tokens
        Tokens of the cells [n].
    cell
        Cell of each copy [p].
    excess
        How many genes that cell loses before it is compared [p].
    special
        Which entries of the vocabulary are special tokens [v].
    """
    stride = int(excess.max(initial=0)) + 1
    pairs, of = np.unique(cell * stride + excess, return_inverse=True)
    found = tokens.take(pairs // stride)
    if stride > 1:
        found = shorten(found, pairs % stride, special)
    order = np.argsort(-found.lengths, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return Baselines(found.take(order), place[of])


def cut(lengths: NDArray[np.integer], budget: int, batch_size: int | None = None) -> Iterator[slice]:
    """Cut a row of cells into neighbours that hold no more tokens than the budget together; one longer goes alone.

    No more than ``batch_size`` cells go together, if given.
    """
    ends = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        limit = ends[start] - lengths[start] + budget
        stop = max(start + 1, int(np.searchsorted(ends, limit, side="right")))
        stop = stop if batch_size is None else min(stop, start + batch_size)
        yield slice(start, stop)
        start = stop
