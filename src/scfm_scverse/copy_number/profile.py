"""The profile that the cells of one donor share, which may be malignant, and how far a cell follows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .neighbors import shared_stretch, stretch

MIN_REFERENCE = 10  # normal cells without which nothing can be said
NUISANCES, CELLS_PER_NUISANCE = 20, 10
REFINEMENTS = 2
CALM = 0.9  # share of the normal cells that nuisances are learnt from: a tumour cell among them would be one
WEIGHT_LIMIT = 0.9  # quantile of weights at which they are cut: no cell decides alone


@dataclass(frozen=True)
class Axis:
    """A direction [w] that cells are projected on, and the median and spread of normal cells along it."""

    direction: NDArray[np.float32]
    middle: float
    spread: float

    def __call__(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Robust standard deviations from the normal cells, for rows of [n, w]."""
        out: NDArray[np.float32] = ((rows @ self.direction - self.middle) / self.spread).astype(np.float32)
        return out


@dataclass(frozen=True)
class Profile:
    """What is known of one donor.

    Attributes
    ----------
    center
        float32 [w]: mean of the normal cells.
    nuisance
        float32 [w, k]: ways in which normal cells differ among themselves.
    along
        The profile that candidates share.
    distant
        What that profile holds in the neighbourhood of each window, without the window: a cell type, whose genes lie
        scattered, cannot imitate it.
    stretch
        Share of what candidates have in common that runs along the chromosomes, 0 to 1.
    mean_along, mean_distant
        Means over candidates, weighted by how much each shows of gains and losses.
    """

    center: NDArray[np.float32]
    nuisance: NDArray[np.float32]
    along: Axis
    distant: Axis
    stretch: float
    mean_along: float
    mean_distant: float

    def clean(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cells less the mean of the normal ones and less nuisances."""
        return _without(rows - self.center, self.nuisance)


def find_profile(candidates: NDArray[np.float32], normals: NDArray[np.float32], neighbors: sp.csr_matrix) -> Profile:
    """Learn the profile of a donor.

    Parameters
    ----------
    candidates
        Windows of cells that may be malignant, [n, w].
    normals
        Windows of normal cells, of this donor or borrowed, [m, w].
    neighbors
        From :func:`~scfm_scverse.copy_number.neighbors.neighbor_matrix`.

    Returns
    -------
    The profile; its axes give NaN where there is no candidate or where fewer than 10 normal cells are known.
    """
    size = normals.shape[1]
    if len(normals) < MIN_REFERENCE:
        nowhere = Axis(np.full(size, np.nan, np.float32), 0.0, 1.0)
        return Profile(np.zeros(size, np.float32), np.zeros((size, 0), np.float32), nowhere, nowhere, 0.0, 0.0, 0.0)
    center = normals.mean(axis=0)
    nuisance = _nuisance(normals - center, neighbors)
    if not len(candidates):
        nowhere = Axis(np.full(size, np.nan, np.float32), 0.0, 1.0)
        return Profile(center, nuisance, nowhere, nowhere, 0.0, 0.0, 0.0)
    cells, known = (_without(rows - center, nuisance) for rows in (candidates, normals))
    # Each cell's own runs first, then how far it follows what the cells with runs share.
    weight = _weight(stretch(cells, neighbors) - np.median(stretch(known, neighbors)))
    along, distant = _axes(weight @ cells, known, neighbors)
    for _ in range(REFINEMENTS):
        weight = _weight(distant(cells))
        along, distant = _axes(weight @ cells, known, neighbors)
    return Profile(
        center=center,
        nuisance=nuisance,
        along=along,
        distant=distant,
        stretch=shared_stretch(cells, weight, neighbors),
        mean_along=float(weight @ along(cells)),
        mean_distant=float(weight @ distant(cells)),
    )


def _nuisance(rows: NDArray[np.float32], neighbors: sp.csr_matrix) -> NDArray[np.float32]:
    """Leading directions in which normal cells differ: their types, their quality, the cell cycle; [w, k]."""
    from scipy.linalg import eigh

    restless = stretch(rows, neighbors)
    calm = rows[restless <= np.quantile(restless, CALM)]
    size = rows.shape[1]
    k = min(NUISANCES, len(calm) // CELLS_PER_NUISANCE, size - 1)
    if k < 1:
        return np.zeros((size, 0), np.float32)
    spread = calm - calm.mean(axis=0)
    return np.asarray(eigh(spread.T @ spread, subset_by_index=[size - k, size - 1])[1], dtype=np.float32)


def _without(rows: NDArray[np.float32], directions: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(rows - (rows @ directions) @ directions.T, dtype=np.float32)


def _weight(excess: NDArray[np.floating]) -> NDArray[np.float32]:
    """Weight of each candidate from how much it shows beyond normal cells; sum 1."""
    positive = np.maximum(excess, 0)
    weight = np.minimum(positive, np.quantile(positive, WEIGHT_LIMIT))
    if weight.sum() <= 0:
        weight = np.ones(len(excess))
    return np.asarray(weight / weight.sum(), dtype=np.float32)


def _axes(shared: NDArray[np.floating], known: NDArray[np.float32], neighbors: sp.csr_matrix) -> tuple[Axis, Axis]:
    """Axis of a profile together with its distant neighbourhood, and of that neighbourhood alone."""
    reach = np.maximum(np.asarray(neighbors.sum(axis=1)).ravel(), 1)
    profile = _unit(shared)
    around = _unit((neighbors @ profile) / reach)
    return _axis(_unit(profile + around), known), _axis(around, known)


def _unit(direction: NDArray[np.floating]) -> NDArray[np.float32]:
    """The direction with mean 0 and length 1."""
    centered = direction - direction.mean()
    return np.asarray(centered / max(float(np.linalg.norm(centered)), 1e-9), dtype=np.float32)


def _axis(direction: NDArray[np.float32], known: NDArray[np.float32]) -> Axis:
    values = known @ direction
    middle = float(np.median(values))
    # Few normal cells may look more alike than they are: the upper end of what their deviation may be (90 %).
    spread = 1.4826 * float(np.median(np.abs(values - middle))) * (1 + 1.5 / np.sqrt(len(values)))
    return Axis(direction, middle, max(spread, 1e-6))
