"""scGPT's bins of one cell at a time, straight from numpy's quantiles."""

from __future__ import annotations

import numpy as np


def naive_range(values: np.ndarray, n_bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest bin that each expressed value of a cell may take."""
    edges = np.quantile(values, np.linspace(0, 1, n_bins - 1))
    highest, below = np.digitize(values, edges), np.digitize(values, edges, right=True)
    return np.minimum(below + 1, highest), highest


def naive_expressed(row: np.ndarray, columns: np.ndarray, n_genes: int) -> dict[int, float]:
    """Sum of the columns of each gene of the vocabulary that a cell expresses."""
    out: dict[int, float] = {}
    for value, gene in zip(row, columns, strict=True):
        if gene >= 0 and value > 0:
            out[int(gene)] = np.float32(out.get(int(gene), np.float32(0)) + np.float32(value))
    return out
