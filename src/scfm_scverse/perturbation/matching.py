"""Genes that are expressed like the perturbed ones: the null that effects are compared with.

What a model answers to the loss of a gene depends first of all on how much of it a cell expresses. Perturbed genes are
therefore compared with genes of like rank and expression, as Theodoris et al. (Nature 2023,
doi:10.1038/s41586-023-06139-9) compare with random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from .._errors import InputError
from .expression_space import log_normalized

DRAWN = 20  # combinations that are drawn for each one that is kept
MEMBERS = 256  # genes that combinations are made of
ROWS = 4096  # perturbations that are matched at a time


@dataclass(frozen=True)
class ExpressionRanks:
    """How genes stand in the cells that express them.

    A gene that no cell expresses has rank 1 and expression 0, the limit of rare ones.

    Attributes
    ----------
    rank
        float64 [g]: mean rank inside the cells that express the gene, as a share of the genes of the cell: 0 for the
        most expressed, 1 for the least. Genes with the same value share the mean of their ranks.
    expression
        float64 [g]: mean ``log1p`` of counts per 10,000 in these cells.
    share
        float64 [g]: share of cells that express the gene.
    """

    rank: NDArray[np.float64]
    expression: NDArray[np.float64]
    share: NDArray[np.float64]

    @property
    def features(self) -> NDArray[np.float64]:
        """What genes are matched by: rank and expression, [g, 2]."""
        return np.column_stack([self.rank, self.expression])


def expression_ranks(block: sp.csr_matrix) -> ExpressionRanks:
    """Rank the genes of each cell by their values; average over the cells that express them.

    Parameters
    ----------
    block
        CSR rows of linear values, [n, g].

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from scfm_scverse.perturbation import expression_ranks
    >>> expression_ranks(sp.csr_matrix([[5, 3, 1, 0], [0, 9, 2, 0]])).rank
    array([0.  , 0.25, 1.  , 1.  ])
    """
    n, g = block.shape
    cell, gene = np.repeat(np.arange(n), np.diff(block.indptr)), block.indices
    values, logs = block.data, log_normalized(block).data
    expressed = values > 0
    cell, gene, values, logs = cell[expressed], gene[expressed], values[expressed], logs[expressed]
    order = np.lexsort((-values, cell))
    cell, gene, values, logs = cell[order], gene[order], values[order], logs[order]
    size = np.bincount(cell, minlength=n)
    first = np.cumsum(size) - size
    rank = (_tied_places(cell, values) - first[cell]) / np.maximum(size[cell] - 1, 1)
    cells = np.bincount(gene, minlength=g)
    known = cells > 0
    mean = [
        np.divide(np.bincount(gene, weights, g), cells, out=np.full(g, without), where=known)
        for weights, without in ((rank, 1.0), (logs, 0.0))
    ]
    return ExpressionRanks(mean[0], mean[1], cells / max(n, 1))


def _tied_places(cell: NDArray[np.integer], values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Place of each of the sorted values; the mean of their places for those of a cell that are the same."""
    starts = np.ones(len(cell), bool)
    starts[1:] = (cell[1:] != cell[:-1]) | (values[1:] != values[:-1])
    begin = np.flatnonzero(starts)
    end = np.append(begin[1:], len(cell))
    return np.repeat((begin + end - 1) / 2, end - begin)


def draw_null(
    features: NDArray[np.floating],
    candidates: NDArray[np.integer],
    excluded: NDArray[np.integer],
    n: int,
    rng: np.random.Generator,
    *,
    size: int = 1,
) -> NDArray[np.int64]:
    """Draw genes, or combinations of genes, that cover the range of the candidates' features evenly.

    The range is cut into a grid and its squares are drawn from in turn, so that a gene at the edge of the range has
    neighbours too.

    Parameters
    ----------
    features
        [g, f]: what genes are matched by.
    candidates, excluded
        Genes that may be drawn, and those among them that may not.
    n
        Number of draws; fewer come back where there are not as many.
    rng
        Source of random numbers.
    size
        Genes of a combination; its features are the means over its genes.

    Returns
    -------
    int64 [m, size]: genes of each draw, sorted; no draw comes twice.

    Raises
    ------
    InputError
        Fewer candidates than a combination has genes.
    """
    pool = np.setdiff1d(candidates, excluded).astype(np.int64)
    if len(pool) < size:
        msg = f"Found {len(pool)} genes to compare with; expected at least {size} that are expressed and not perturbed."
        raise InputError(msg)
    if size == 1:
        return np.sort(pool[_spread(features[pool], n, rng)])[:, None]
    single = pool[_spread(features[pool], max(size, MEMBERS), rng)]
    drawn = np.sort(np.argpartition(rng.random((DRAWN * n, len(single))), size - 1, axis=1)[:, :size], axis=1)
    combinations = np.unique(np.sort(single[drawn], axis=1), axis=0)
    chosen = _spread(features[combinations].mean(axis=1), n, rng)
    return np.asarray(combinations[np.sort(chosen)])


def _spread(features: NDArray[np.floating], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """At most ``n`` positions of rows, from each occupied square of a grid in turn."""
    side = max(1, round(n ** (1 / features.shape[1])))
    low, high = features.min(axis=0), features.max(axis=0)
    within = (features - low) / np.where(high > low, high - low, 1)
    square = np.unique(np.minimum((within * side).astype(np.int64), side - 1), axis=0, return_inverse=True)[1].ravel()
    order = rng.permutation(len(features))
    by_square = np.argsort(square[order], kind="stable")
    size = np.bincount(square)
    turn = np.arange(len(features)) - np.repeat(np.cumsum(size) - size, size)
    chosen = by_square[np.lexsort((by_square, turn))[:n]]
    return np.asarray(order[chosen])


def match_null(
    features: NDArray[np.floating], perturbed: NDArray[np.integer], null: NDArray[np.integer], n: int
) -> NDArray[np.int64]:
    """Find the perturbations of the null that are nearest in rank and expression.

    Distances are Euclidean, in standard deviations of the null. A perturbation is never matched with one that shares a
    gene with it, and so never with itself.

    Parameters
    ----------
    features
        [g, f]: what genes are matched by; features of a combination are the means over its genes.
    perturbed, null
        [p, k] and [m, l]: genes of each perturbation and of the null, -1 where there are fewer.
    n
        Number of matches.

    Returns
    -------
    int64 [p, n]: positions in ``null``, the nearest first. If a perturbation has fewer others in the null, all have as
    few.

    Raises
    ------
    InputError
        A perturbation has no other in the null.
    """
    of_null = _mean_features(features, null)
    spread = of_null.std(axis=0)
    spread[spread == 0] = 1
    nearest = []
    for start in range(0, len(perturbed), ROWS):
        some = perturbed[start : start + ROWS]
        distance = cdist(_mean_features(features, some) / spread, of_null / spread)
        distance[_share_a_gene(some, null)] = np.inf
        n = min(n, int(np.isfinite(distance).sum(axis=1).min()))
        nearest.append(np.argsort(distance, axis=1, kind="stable")[:, :n])
    if n < 1:
        msg = (
            f"Found no other perturbation among {len(null)} to compare with; expected at least one that shares no gene."
        )
        raise InputError(msg)
    return np.concatenate([part[:, :n] for part in nearest]) if nearest else np.empty((0, n), np.int64)


def _mean_features(features: NDArray[np.floating], genes: NDArray[np.integer]) -> NDArray[np.float64]:
    there = (genes >= 0)[:, :, None]
    return np.asarray((features[genes] * there).sum(axis=1) / there.sum(axis=1))


def _share_a_gene(perturbed: NDArray[np.integer], null: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which perturbations have a gene in common with which of the null [p, m]."""
    shared = np.zeros((len(perturbed), len(null)), bool)
    for gene in perturbed.T[:, :, None, None]:
        shared |= ((gene == null) & (gene >= 0)).any(axis=2)
    return shared
