"""Windows of neighbouring genes along the chromosomes, and cells averaged over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..genes import GeneTable

SIZE, STEP = 51, 10  # genes
CLIP = 3.0
CHROMOSOMES = 22


@dataclass(frozen=True)
class Windows:
    """Runs of neighbouring genes, none of them across the end of a chromosome.

    Attributes
    ----------
    chromosome
        int8 [w]: 1 to 22.
    start
        int32 [w]: position of the first gene's first base.
    first, stop
        int32 [w]: genes ``first`` to ``stop - 1``, in the order along the chromosomes.
    """

    chromosome: NDArray[np.int8]
    start: NDArray[np.int32]
    first: NDArray[np.int32]
    stop: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.first)

    def averaging(self, n_genes: int) -> sp.csr_matrix:
        """Matrix that takes means over windows, [g, w]."""
        length = self.stop - self.first
        indptr = np.concatenate([[0], np.cumsum(length)])
        gene = np.repeat(self.first - indptr[:-1], length) + np.arange(indptr[-1])
        share = np.repeat(1 / length, length).astype(np.float32)
        return sp.csc_matrix((share, gene, indptr), shape=(n_genes, len(self))).tocsr()


def order_genes(table: GeneTable, rows: NDArray[np.int32]) -> NDArray[np.int32]:
    """Rows of the gene table among ``rows`` that lie on chromosomes 1 to 22, in the order along them.

    HLA genes are left out: they follow the state of immune cells.
    """
    number = {f"chr{i}": i for i in range(1, CHROMOSOMES + 1)}
    found = np.unique(rows[rows >= 0])
    chromosome = np.array([number.get(name, 0) for name in table.chromosome[found]], dtype=np.int8)
    usable = (chromosome > 0) & np.array([not name.startswith("HLA-") for name in table.symbol[found]], dtype=bool)
    order = np.lexsort((table.start[found], chromosome))
    out: NDArray[np.int32] = found[order[usable[order]]]
    return out


def make_windows(chromosome: NDArray[np.integer], start: NDArray[np.integer]) -> Windows:
    """Cut genes in the order along the chromosomes into windows; a short chromosome is one window."""
    first, stop = [], []
    for number in np.unique(chromosome):
        low, high = np.searchsorted(chromosome, [number, number + 1])
        begin = np.arange(low, max(high - SIZE, low) + 1, STEP)
        first.append(begin)
        stop.append(np.minimum(begin + SIZE, high))
    begins = np.concatenate(first).astype(np.int32) if first else np.zeros(0, np.int32)
    ends = np.concatenate(stop).astype(np.int32) if stop else np.zeros(0, np.int32)
    return Windows(chromosome[begins].astype(np.int8), start[begins].astype(np.int32), begins, ends)


def smooth_cells(
    blocks: Iterable[tuple[int, sp.csr_matrix]],
    donor: NDArray[np.integer],
    mean: NDArray[np.float32],
    scale: NDArray[np.float32],
    windows: Windows,
) -> NDArray[np.float32]:
    """Standardise cells by the normals of their donor and average them over windows.

    Parameters
    ----------
    blocks
        Position of the first cell and log values [b, g], genes in the order along the chromosomes.
    donor
        Donor of each cell, [n].
    mean, scale
        Of the normal cells of each donor, [donors, g].
    windows
        As :func:`make_windows` cuts them.

    Returns
    -------
    float32 [n, w]: each cell less its median; NaN for cells without counts.
    """
    averaging = windows.averaging(mean.shape[1])
    # Most values are zeros: what they stand for is summed once a donor, a cell adds what its expressed genes differ.
    zero = np.clip(-mean / scale, -CLIP, CLIP)
    base = np.asarray(zero @ averaging, dtype=np.float32)
    out = np.full((len(donor), len(windows)), np.nan, np.float32)
    for first, block in blocks:
        lengths = np.diff(block.indptr)
        owner = np.repeat(donor[first : first + len(lengths)], lengths)
        at = (owner, block.indices)
        shift = np.clip((block.data - mean[at]) / scale[at], -CLIP, CLIP) - zero[at]
        rows = sp.csr_matrix((shift, block.indices, block.indptr), shape=block.shape) @ averaging
        smooth = rows.toarray() + base[donor[first : first + len(lengths)]]
        smooth -= np.median(smooth, axis=1, keepdims=True)
        smooth[lengths == 0] = np.nan
        out[first : first + len(lengths)] = smooth
    return out
