"""What a reference says of cells: two opinions on the class, and how far a cell lies from all of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .discriminant import posterior
from .neighbors import find_in_reference
from .reference import LabelledCells, Reference

FINE_SHARE = 0.3  # weight of the fine classes in the choice of a branch; the rest is the branches' own discriminant
INSIDE_SHARE = 0.2  # weight of the discriminant beside the vote of neighbours among the classes of a branch
NEIGHBORS = 50
BULK_SHARE = 0.5  # of the distance to all cells together, taken off the distance to the classes


@dataclass(frozen=True)
class Scores:
    """Probability of each class [n, c], of each branch [n, b], and distance to all classes [n]."""

    fine: NDArray[np.float32]
    branch: NDArray[np.float32]
    distance: NDArray[np.float32]


def score_cells(reference: Reference, embedding: NDArray[np.float32]) -> Scores:
    """Compare cells with a reference.

    The branch is chosen by discriminants and by the vote of the nearest labelled cells, half each; the class inside it
    mostly by the vote. Classes share their branch's probability, so that the two levels never contradict each other.
    """
    squared = reference.fine.distances(embedding)
    by_distance = _by_distance(reference, embedding, squared)
    by_vote = by_distance if reference.cells is None else _by_vote(reference, reference.cells, embedding)
    branch = (collect_branches(reference, by_distance) + collect_branches(reference, by_vote)) / 2
    fine = by_vote + INSIDE_SHARE * by_distance
    fine *= (branch / np.maximum(collect_branches(reference, fine), 1e-30))[:, reference.branch]
    distance = _distance(reference, embedding, squared)
    return Scores(fine.astype(np.float32), branch.astype(np.float32), distance.astype(np.float32))


def collect_branches(reference: Reference, fine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum classes over their branches."""
    member = np.zeros((len(reference.branch), len(reference.branch_label)))
    member[np.arange(len(reference.branch)), reference.branch] = 1
    collected: NDArray[np.float64] = fine @ member
    return collected


def _by_distance(
    reference: Reference, embedding: NDArray[np.float32], squared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Class probabilities of two discriminants together, one over branches and one over classes."""
    n_branches = len(reference.branch_label)
    size = np.bincount(reference.branch, minlength=n_branches)
    # The root of a branch's size lies between counting its classes and counting the branch once.
    fine = posterior(squared, 1 / np.sqrt(size[reference.branch]), reference.temperature)
    collected = collect_branches(reference, fine)
    coarse = posterior(reference.coarse.distances(embedding), np.ones(n_branches), reference.temperature)
    logits = FINE_SHARE * np.log(collected + 1e-30) + (1 - FINE_SHARE) * np.log(coarse + 1e-30)
    together = posterior(-2 * logits, reference.branch_prior, 1.0)
    fine *= (together / np.maximum(collected, 1e-30))[:, reference.branch]
    return fine


def _by_vote(reference: Reference, cells: LabelledCells, embedding: NDArray[np.float32]) -> NDArray[np.float64]:
    """Share of each class among the nearest labelled cells."""
    n_classes = len(reference.label)
    k = min(int(np.clip(len(cells.code) // n_classes, 5, NEIGHBORS)), len(cells.code))
    index = find_in_reference(reference, embedding, k).index
    flat = np.arange(len(embedding))[:, None] * n_classes + cells.code[index]
    votes = np.bincount(flat.ravel(), minlength=len(embedding) * n_classes)
    return votes.reshape(len(embedding), n_classes) / k


def _distance(
    reference: Reference, embedding: NDArray[np.float32], squared: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Soft minimum of the distances to the classes, less half of the distance to the bulk of all cells.

    The second part takes off what shallow or noisy cells are farther from everything.
    """
    scale = -2 * reference.temperature
    logits = squared / scale
    top = logits.max(axis=1)
    energy = -reference.temperature * (top + np.log(np.exp(logits - top[:, None]).sum(axis=1)))
    bulk: NDArray[np.float64] = reference.overall.distances(embedding)[:, 0]
    return np.asarray(energy - BULK_SHARE * bulk)
