"""The cell vector of scfm-mini by the formula of its definition."""

from __future__ import annotations

import numpy as np


def naive_cell_vectors(
    values: np.ndarray, measured: np.ndarray, embedding: np.ndarray, mean: np.ndarray, sd: np.ndarray, ridge: float
) -> np.ndarray:
    """Unit vectors [n, d] of dense log values [n, v]: (W'W + ridge I)^-1 W' z over the measured genes."""
    w = embedding[measured].astype(np.float64)
    inverse = np.linalg.inv(w.T @ w + ridge * np.eye(w.shape[1]))
    out = []
    for cell in values:
        z = np.clip((cell - mean) / sd, -8, 8)[measured]
        vector = inverse @ (w.T @ z)
        out.append(vector / np.sqrt((vector**2).sum()))
    return np.array(out)
