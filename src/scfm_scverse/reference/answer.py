"""From scores to what a user reads: a label, its term, a confidence, an unknown score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .reference import Reference, score_cells

UNKNOWN = "unknown"
MIN_CONFIDENCE = 0.5  # the finest label that is more likely right than wrong
BLOCK = 20_000  # cells compared at a time: bounds the arrays of distances


@dataclass(frozen=True)
class Answer:
    """One entry a cell: label, best fine label, ontology id, confidence, unknown score [n]; probabilities [n, c]."""

    label: NDArray[np.str_]
    fine: NDArray[np.str_]
    term: NDArray[np.str_]
    confidence: NDArray[np.float32]
    unknown_score: NDArray[np.float32]
    probabilities: NDArray[np.float32]


def name_cells(reference: Reference, embedding: NDArray[np.float32]) -> Answer:
    """Name every cell; rows of NaN are unknown with NaN numbers.

    The branch comes first and the class is the best one inside it. The class is the answer where its confidence
    reaches one half, else the branch is.
    """
    n, n_classes = len(embedding), len(reference.label)
    label = np.full(n, UNKNOWN, dtype=object)
    fine, term = label.copy(), label.copy()
    confidence, unknown_score = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    probabilities = np.full((n, n_classes), np.nan, np.float32)
    present = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    for start in range(0, len(present), BLOCK):
        cells = present[start : start + BLOCK]
        scores = score_cells(reference, embedding[cells])
        branch = scores.branch.argmax(axis=1)
        inside = np.where(reference.branch[None, :] == branch[:, None], scores.fine, -1)
        best = inside.argmax(axis=1)
        sure = reference.fine_calibration(inside.max(axis=1))
        fallback = reference.branch_calibration(scores.branch.max(axis=1))
        # A class cannot be surer than the branch that it belongs to.
        sure = np.minimum(sure, fallback)
        stop = sure < MIN_CONFIDENCE
        unknown_score[cells] = reference.unknown(scores.nearest)
        known = unknown_score[cells] <= reference.unknown.refuse_above
        fine[cells] = reference.label[best]
        label[cells] = np.where(known, np.where(stop, reference.branch_label[branch], reference.label[best]), UNKNOWN)
        term[cells] = np.where(known, np.where(stop, reference.branch_term[branch], reference.term[best]), UNKNOWN)
        confidence[cells] = np.where(stop, fallback, sure)
        probabilities[cells] = scores.fine
    term[term == ""] = UNKNOWN
    return Answer(
        label=label.astype(str),
        fine=fine.astype(str),
        term=term.astype(str),
        confidence=confidence,
        unknown_score=unknown_score,
        probabilities=probabilities,
    )
