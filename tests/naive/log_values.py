"""Log values of a dense matrix, one cell and one column at a time."""

from __future__ import annotations

import numpy as np


def naive_log_values(
    values: np.ndarray, columns: np.ndarray, counted: np.ndarray, n_genes: int, base: float
) -> np.ndarray:
    """Dense log(1 + counts per 10,000) of every gene of the vocabulary, [n, v], from values [n, g]."""
    linear = values.astype(np.float64) if base == 0 else base ** values.astype(np.float64) - 1
    out = np.zeros((len(values), n_genes))
    for cell, row in enumerate(linear):
        total = sum(value for value, counts in zip(row, counted, strict=True) if counts)
        for value, gene in zip(row, columns, strict=True):
            if gene >= 0:
                out[cell, gene] += value
        if total > 0:
            out[cell] = np.log(1 + 10_000 * out[cell] / total)
    return out
