"""From scores to what a user reads: a label, its term, a confidence, an unknown score, a prediction set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .ladder import Ladder, build_ladder, deepest
from .reference import Reference
from .scores import Scores, score_cells
from .sets import choose_sets, name_sets

UNKNOWN = "unknown"
BLOCK = 10_000  # cells compared at a time: bounds the arrays of distances


@dataclass(frozen=True)
class Decision:
    """Best class [n], place of the answer in the ladder [n] (-1 where none collects enough), its probability [n]."""

    best: NDArray[np.intp]
    rung: NDArray[np.intp]
    share: NDArray[np.float32]


@dataclass(frozen=True)
class Answer:
    """One entry a cell; ``forced`` says where the set holds its one class by force; probabilities are [n, c]."""

    label: NDArray[np.str_]
    fine: NDArray[np.str_]
    term: NDArray[np.str_]
    confidence: NDArray[np.float32]
    unknown_score: NDArray[np.float32]
    prediction_set: NDArray[np.object_]
    forced: NDArray[np.bool_]
    probabilities: NDArray[np.float32]


def decide(reference: Reference, ladder: Ladder, scores: Scores) -> Decision:
    """Choose the branch first, the class inside it, then the deepest answer above that class that is certain enough."""
    branch = scores.branch.argmax(axis=1)
    best = np.where(reference.branch[None, :] == branch[:, None], scores.fine, -1).argmax(axis=1)
    return Decision(best, *deepest(ladder, scores.fine, best))


def name_cells(reference: Reference, embedding: NDArray[np.float32], *, alpha: float = 0.1) -> Answer:
    """Name every cell; rows of NaN are unknown with NaN numbers and an empty prediction set.

    Cells that lie farther from every class than known cells do, and cells for which not even a broad answer is certain
    enough, are unknown.
    """
    ladder = build_ladder(reference)
    least = reference.scales.sets.least_probability(alpha)
    n, n_classes = len(embedding), len(reference.label)
    label, fine, term, sets = (np.full(n, one, dtype=object) for one in (UNKNOWN, UNKNOWN, UNKNOWN, ""))
    confidence, unknown_score = np.full(n, np.nan, np.float32), np.full(n, np.nan, np.float32)
    probabilities = np.full((n, n_classes), np.nan, np.float32)
    all_forced = np.zeros(n, bool)
    present = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    for start in range(0, len(present), BLOCK):
        cells = present[start : start + BLOCK]
        scores = score_cells(reference, embedding[cells])
        decision = decide(reference, ladder, scores)
        unknown_score[cells] = reference.scales.unknown(scores.distance)
        known = (unknown_score[cells] <= reference.scales.unknown.refuse_above) & (decision.rung >= 0)
        fine[cells] = reference.label[decision.best]
        label[cells] = np.where(known, ladder.label[decision.rung], UNKNOWN)
        term[cells] = np.where(known, ladder.term[decision.rung], UNKNOWN)
        confidence[cells] = reference.scales.sure(decision.share, scores.distance)
        included, forced = choose_sets(scores.fine, least)
        sets[cells] = name_sets(reference.label, scores.fine, included)
        all_forced[cells] = forced
        probabilities[cells] = scores.fine
    term[term == ""] = UNKNOWN
    return Answer(
        label=label.astype(str),
        fine=fine.astype(str),
        term=term.astype(str),
        confidence=confidence,
        unknown_score=unknown_score,
        prediction_set=sets,
        forced=all_forced,
        probabilities=probabilities,
    )


def name_groups(
    reference: Reference, answer: Answer, group: NDArray[np.integer]
) -> tuple[NDArray[np.str_], NDArray[np.float32]]:
    """Name groups of cells by the mean probability of their cells, by the same rule as cells.

    Cells that are unknown for their distance take no part; a group is unknown where they are the majority.

    Returns
    -------
    Label of each group and the share of its cells whose own best class that label holds, [g].
    """
    ladder = build_ladder(reference)
    n_groups = int(group.max()) + 1
    usable = (answer.unknown_score <= reference.scales.unknown.refuse_above) & (group >= 0)
    total = np.bincount(group[group >= 0], minlength=n_groups)
    label, share = np.full(n_groups, UNKNOWN, dtype=object), np.full(n_groups, np.nan, np.float32)
    best = answer.probabilities.argmax(axis=1)
    for one in range(n_groups):
        cells = np.flatnonzero(usable & (group == one))
        if 2 * len(cells) < total[one] or not len(cells):
            continue
        mean = answer.probabilities[cells].mean(axis=0, keepdims=True, dtype=np.float64)
        rung = _decide_mean(reference, ladder, mean)
        if rung >= 0:
            label[one] = ladder.label[rung]
            share[one] = ladder.members[best[cells], rung].sum() / total[one]
    return label.astype(str), share


def _decide_mean(reference: Reference, ladder: Ladder, probability: NDArray[np.float64]) -> int:
    branch = np.zeros((1, len(reference.branch_label)))
    np.add.at(branch[0], reference.branch, probability[0])
    scores = Scores(probability.astype(np.float32), branch.astype(np.float32), np.zeros(1, np.float32))
    return int(decide(reference, ladder, scores).rung[0])
