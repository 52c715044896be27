"""What perturbations of genes that are expressed alike do to the same cells: the null of a screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .matching import match_null
from .screen import Measured

MATCHED = 20  # perturbations that each one is compared with


@dataclass(frozen=True)
class Null:
    """Scores of perturbations of genes that nobody asked about.

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
        count = (~np.isnan(self.scores)).sum(axis=1)
        total = np.nansum(self.scores, axis=1, dtype=np.float64)
        return np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)

    def matched(self, perturbations: list[NDArray[np.int32]]) -> NDArray[np.int64]:
        """Positions of those that are most like each perturbation [p, MATCHED at most]."""
        width = max(map(len, perturbations))
        padded = np.full((len(perturbations), width), -1, np.int64)
        for row, genes in zip(padded, perturbations, strict=True):
            row[: len(genes)] = genes
        return match_null(self.features, padded, self.genes, MATCHED)


def gather_scores(parts: Iterable[Measured], n: int, n_cells: int, goal: int | None) -> NDArray[np.float32]:
    """Scores of ``n`` perturbations as a matrix [n, n_cells], NaN where a cell was not perturbed."""
    scores = np.full((n, n_cells), np.nan, np.float32)
    for part in parts:
        scores[part.perturbation, part.copies.cell] = part.score(goal)
    return scores
