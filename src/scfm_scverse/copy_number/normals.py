"""Expression of the normal cells of each donor, that every cell is compared with."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

MIN_NORMALS = 20  # of a donor; with fewer, it borrows those of the other donors
SCALE_FLOOR = 0.3  # added to standard deviations, so that hardly expressed genes do not decide


@dataclass(frozen=True)
class Moments:
    """Sums over cells.

    Attributes
    ----------
    n_cells, n_seen
        Cells with counts, and how many of them express each gene [g].
    n_normals
        Normal cells of each donor that have counts [donors].
    total, squares
        Sums of their log values and of the squares, [donors, g].
    """

    n_cells: int
    n_seen: NDArray[np.int64]
    n_normals: NDArray[np.int64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]

    def genes(self, kept: NDArray[np.integer]) -> Moments:
        """The same sums for some of the genes."""
        return Moments(self.n_cells, self.n_seen[kept], self.n_normals, self.total[:, kept], self.squares[:, kept])


def collect_moments(
    blocks: Iterable[tuple[int, sp.csr_matrix]],
    donor: NDArray[np.integer],
    normal: NDArray[np.bool_],
    n_genes: int,
) -> Moments:
    """Add up cells, block by block: log values [b, g], donor and whether normal of each cell [n]."""
    n_donors = int(donor.max(initial=-1)) + 1
    seen, normals, cells = np.zeros(n_genes, np.int64), np.zeros(n_donors, np.int64), 0
    total, squares = np.zeros((n_donors, n_genes)), np.zeros((n_donors, n_genes))
    for first, block in blocks:
        here = slice(first, first + block.shape[0])
        filled = np.diff(block.indptr) > 0
        cells += int(filled.sum())
        seen += np.bincount(block.indices, minlength=n_genes)
        rows = np.flatnonzero(normal[here] & filled)
        normals += np.bincount(donor[here][rows], minlength=n_donors)
        member = sp.csr_matrix(
            (np.ones(len(rows)), (donor[here][rows], np.arange(len(rows)))), shape=(n_donors, len(rows))
        )
        values = block[rows].astype(np.float64)
        total += (member @ values).toarray()
        squares += (member @ values.power(2)).toarray()
    return Moments(cells, seen, normals, total, squares)


def standards(moments: Moments) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """Mean and scale of normal cells for every donor, [donors, g], and which donors have enough of their own."""
    enough = moments.n_normals >= MIN_NORMALS
    count = np.where(enough, moments.n_normals, moments.n_normals.sum())[:, None]
    total = np.where(enough[:, None], moments.total, moments.total.sum(axis=0))
    squares = np.where(enough[:, None], moments.squares, moments.squares.sum(axis=0))
    mean = total / np.maximum(count, 1)
    variance = np.maximum(squares / np.maximum(count, 1) - mean**2, 0)
    return mean.astype(np.float32), (np.sqrt(variance) + SCALE_FLOOR).astype(np.float32), enough
