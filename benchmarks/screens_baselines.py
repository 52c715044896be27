"""Simple answers to what a perturbation does, from the same cells: components and co-expression."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA

WIDTH = 50
SEEN, CLIP = 0.01, 8.0  # share of cells that a gene must be seen in, and largest value, where genes are scaled


@dataclass(frozen=True)
class Components:
    """Principal components of log values: their mean and unit [g], loadings [g, k], and where standard values end."""

    mean: NDArray[np.floating]
    unit: NDArray[np.floating]
    loadings: NDArray[np.floating]
    clip: float

    @classmethod
    def fit(cls, values: NDArray[np.float32], width: int = WIDTH, *, scaled: bool = False) -> Components:
        """Fit cells [n, g]; scaled by standard deviations, genes that are hardly seen left out, or as they are."""
        mean, unit, clip = values.mean(axis=0), np.ones(values.shape[1], np.float32), np.inf
        if scaled:
            unit, clip = np.where((values > 0).mean(axis=0) >= SEEN, values.std(axis=0), np.float32(np.inf)), CLIP
        standard = np.clip((values - mean) / unit, -clip, clip)
        pca = PCA(min(width, *values.shape), svd_solver="randomized", random_state=0).fit(standard)
        return cls(mean, unit, pca.components_.T, clip)

    def standard(self, values: NDArray, columns: NDArray[np.integer] | slice = slice(None)) -> NDArray:
        """Standard values of some genes."""
        return np.clip((values - self.mean[columns]) / self.unit[columns], -self.clip, self.clip)

    def scores(self, values: NDArray) -> NDArray:
        """Place cells [n, k]."""
        return self.standard(values) @ self.loadings

    def loss(self, values: NDArray, columns: NDArray[np.integer]) -> NDArray:
        """Change of the standard value of some genes where the gene is removed, [n, p]."""
        present = values[:, columns]
        return self.standard(np.zeros_like(present), columns) - self.standard(present, columns)

    def effects(self, values: NDArray, columns: NDArray[np.integer]) -> NDArray:
        """1 - cosine to the cell without a gene's value, mean of the cells that hold it, for each of some genes [p]."""
        scores, loss, along = self.scores(values), self.loss(values, columns), self.loadings[columns]
        inner, own = scores @ along.T, (scores**2).sum(axis=1, keepdims=True)
        left = own + 2 * loss * inner + loss**2 * (along**2).sum(axis=1)
        effect = 1 - (own + loss * inner) / np.sqrt(np.maximum(own * left, 1e-24))
        held = values[:, columns] > 0
        n = np.where(held.any(axis=0), held.sum(axis=0), np.nan)
        return np.asarray((effect * held).sum(axis=0) / n)

    def changes(self, values: NDArray, columns: NDArray[np.integer]) -> NDArray:
        """Mean change of all genes where the value of each of some genes is removed, seen through the components."""
        loss = self.loss(values, columns).mean(axis=0)
        unit = np.where(np.isfinite(self.unit), self.unit, 0)
        return loss[:, None] * (self.loadings[columns] @ self.loadings.T) * unit


def cosines(one: NDArray, other: NDArray) -> NDArray[np.float64]:
    """Cosine of each row to the row beside it, or to one vector."""
    length = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    return (one * other).sum(axis=-1) / np.maximum(length, 1e-12)


def correlations(values: NDArray, columns: NDArray[np.integer]) -> NDArray[np.float64]:
    """Correlation of some genes with all genes over cells, 0 for genes that do not vary, [p, g]."""
    centred = values - values.mean(axis=0, dtype=np.float64)
    length = np.linalg.norm(centred, axis=0)
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-9)
    return unit[:, columns].T @ unit


def regression_changes(values: NDArray, columns: NDArray[np.integer]) -> NDArray[np.float64]:
    """Change of all genes that a regression on one gene expects where that gene falls to zero, [p, g]."""
    spread = values.std(axis=0, dtype=np.float64)
    inverse = np.divide(1, spread, out=np.zeros_like(spread), where=spread > 1e-9)
    slope = correlations(values, columns) * spread * inverse[columns][:, None]
    return -slope * values[:, columns].mean(axis=0)[:, None]


def removal_effects(values: NDArray, columns: NDArray[np.integer], genes: list[str]) -> dict[str, pd.Series]:
    """Effect of the removal of each of some genes in components of the same cells, genes as they are and scaled."""
    rows = {"PCA removal": False, "PCA removal, scaled": True}
    return {
        row: pd.Series(Components.fit(values, scaled=scaled).effects(values, columns), genes)
        for row, scaled in rows.items()
    }
