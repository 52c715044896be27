"""Linear discriminant with loops over cells and classes."""

from __future__ import annotations

import numpy as np


def naive_weights(label: np.ndarray, batch: np.ndarray) -> np.ndarray:
    """Weights [n]: 1/sqrt(cells of the same class and batch), scaled so that every class adds up to the same."""
    weight = np.array(
        [1 / np.sqrt(((label == label[i]) & (batch == batch[i])).sum()) for i in range(len(label))], dtype=float
    )
    classes = np.unique(label)
    for c in classes:
        weight[label == c] /= weight[label == c].sum() * len(classes)
    return weight


def naive_distances(cells: np.ndarray, means: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Squared Mahalanobis distances [n, c]."""
    inverse = np.linalg.inv(covariance)
    return np.array([[(x - m) @ inverse @ (x - m) for m in means] for x in cells])


def naive_fit(
    cells: np.ndarray, label: np.ndarray, batch: np.ndarray, shrinkage: float
) -> tuple[np.ndarray, np.ndarray]:
    """Class means [c, d], and the covariance inside classes shrunk towards a round one [d, d]."""
    weight = naive_weights(label, batch)
    means = np.array([np.average(cells[label == c], axis=0, weights=weight[label == c]) for c in np.unique(label)])
    covariance = np.zeros((cells.shape[1],) * 2)
    for x, c, w in zip(cells, label, weight, strict=True):
        covariance += w * np.outer(x - means[c], x - means[c])
    round_one = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    return means, (1 - shrinkage) * covariance + shrinkage * round_one
