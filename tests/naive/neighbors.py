"""Nearest vectors with loops over cells."""

from __future__ import annotations

import numpy as np


def naive_neighbors(cells: np.ndarray, among: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the k vectors at the smallest angle and their cosine distances, [n, k]."""
    index, distance = [], []
    for cell in cells.astype(float):
        cosine = [cell @ one / (np.linalg.norm(cell) * np.linalg.norm(one)) for one in among.astype(float)]
        order = np.argsort(-np.array(cosine), kind="stable")[:k]
        index.append(order)
        distance.append(1 - np.array(cosine)[order])
    return np.array(index), np.array(distance)
