"""Steps of low-rank and of row-wise Adam, written out in float64."""

from __future__ import annotations

import numpy as np


def naive_low_rank_step(
    weight: np.ndarray, grad: np.ndarray, left: np.ndarray, right: np.ndarray, kept: dict[str, np.ndarray], **s: float
) -> np.ndarray:
    """Weight after a step; ``left`` [m, r] and ``right`` [r, n] may be identities; ``kept`` holds moments and step."""
    low = left.T @ grad @ right.T
    kept["step"] = kept.get("step", np.zeros(())) + 1
    kept["m"] = s["beta1"] * kept.get("m", 0 * low) + (1 - s["beta1"]) * low
    kept["v"] = s["beta2"] * kept.get("v", 0 * low) + (1 - s["beta2"]) * low**2
    m = kept["m"] / (1 - s["beta1"] ** kept["step"])
    v = kept["v"] / (1 - s["beta2"] ** kept["step"])
    update = left @ (m / (np.sqrt(v) + s["eps"])) @ right
    return weight * (1 - s["lr"] * s["decay"]) - s["lr"] * s["scale"] * update


def naive_row_steps(table: np.ndarray, grads: list[np.ndarray], lr: float, beta2: float, eps: float) -> np.ndarray:
    """Table after steps in which the rows whose gradient is not zero move, each with its own count."""
    table = table.astype(np.float64)
    mean_square, count = np.zeros(len(table)), np.zeros(len(table))
    for grad in grads:
        for row in range(len(table)):
            if np.any(grad[row] != 0):
                count[row] += 1
                mean_square[row] = beta2 * mean_square[row] + (1 - beta2) * np.mean(grad[row].astype(np.float64) ** 2)
                corrected = mean_square[row] / (1 - beta2 ** count[row])
                table[row] -= lr * grad[row] / (np.sqrt(corrected) + eps)
    return table
