"""What perturbations of genes that are expressed alike do to the same cells: the null of a screen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .matching import match_null
from .screen import Measured, Weights

MATCHED = 20  # perturbations that each one is compared with


@dataclass(frozen=True)
class Null:
    """Scores of perturbations of genes drawn at large.

    Attributes
    ----------
    genes
        int64 [m, k]: genes of each.
    scores
        float32 [m, n]: score in each cell, NaN where the cell does not hold the genes.
    features
        float64 [v, f]: what genes are matched by.
    """

    genes: NDArray[np.int64]
    scores: NDArray[np.float32]
    features: NDArray[np.float64]

    @cached_property
    def means(self) -> NDArray[np.float64]:
        """Mean score of each [m], NaN where no cell holds the genes."""
        return row_means(self.scores)

    def like(self, genes: NDArray[np.integer]) -> NDArray[np.int64]:
        """Positions of those that are most like a perturbation: as many genes, none of them its own."""
        alike = (self.genes >= 0).sum(axis=1) == len(genes)
        for gene in genes.tolist():
            alike &= (self.genes != gene).all(axis=1)
        others = np.flatnonzero(alike)
        if not len(others):
            return others
        nearest = match_null(self.features, genes[None], self.genes[others], MATCHED)
        return np.asarray(others[nearest[0]])


def score_matrix(part: Measured, n_cells: int, towards: Weights | None) -> NDArray[np.float32]:
    """Scores of the perturbations of a part as a matrix [q, n_cells], NaN where a cell was not perturbed."""
    scores = np.full((len(part.perturbations), n_cells), np.nan, np.float32)
    row = np.searchsorted(part.perturbations, part.perturbation)
    scores[row, part.copies.cell] = part.score(towards)
    return scores


def row_means(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean of each row without NaN; NaN where it has nothing else."""
    count = (~np.isnan(scores)).sum(axis=1)
    total = np.nansum(scores, axis=1, dtype=np.float64)
    return np.asarray(np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))
