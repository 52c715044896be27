"""What runs along a chromosome: the covariance of windows that share no gene but lie close."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .windows import SIZE, STEP, Windows

NEAREST = -(-SIZE // STEP)  # windows apart without a shared gene
FARTHEST = 2 * NEAREST


def neighbor_matrix(windows: Windows) -> sp.csr_matrix:
    """Ones for pairs of windows of one chromosome that share no gene and start at most 120 genes apart, [w, w]."""
    n = len(windows)
    apart = [
        np.flatnonzero(windows.chromosome[:-lag] == windows.chromosome[lag:])
        for lag in range(NEAREST, FARTHEST + 1)
        if lag < n
    ]
    left = np.concatenate([np.zeros(0, np.intp), *apart])
    right = np.concatenate([np.zeros(0, np.intp), *(at + NEAREST + lag for lag, at in enumerate(apart))])
    half = sp.csr_matrix((np.ones(len(left), np.float32), (left, right)), shape=(n, n))
    return (half + half.T).tocsr()


def stretch(rows: NDArray[np.floating], neighbors: sp.csr_matrix) -> NDArray[np.floating]:
    """Mean product of neighbouring windows in each row of [n, w]: near 0 unless gains and losses run on and on.

    Noise adds nothing, since two windows share no gene; nor does a cell type, whose genes lie scattered.
    """
    out: NDArray[np.floating] = ((rows @ neighbors) * rows).sum(axis=1) / max(float(neighbors.sum()), 1.0)
    return out


def shared_stretch(rows: NDArray[np.floating], weight: NDArray[np.floating], neighbors: sp.csr_matrix) -> float:
    """Share of what cells have in common that runs along the chromosomes, 0 to 1.

    Products of different cells only: what a cell shares with itself would count its noise.

    Parameters
    ----------
    rows
        Windows of cells, [n, w].
    weight
        Of each cell, [n], not negative.
    neighbors
        From :func:`neighbor_matrix`.
    """
    if len(rows) < 2 or weight.sum() <= 0:
        return 0.0
    share = weight / weight.sum()
    mean = (share @ rows)[None, :]
    along = float(stretch(mean, neighbors)[0] - share**2 @ stretch(rows, neighbors))
    common = float((mean**2).mean() - share**2 @ (rows**2).mean(axis=1))
    return float(np.clip(along / common, 0, 1)) if common > 0 else 0.0
