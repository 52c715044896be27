"""From scores to what a user reads: a label, its term, a confidence, an unknown score, a prediction set."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .ladder import Ladder, build_ladder, deepest
from .reference import Reference
from .scores import Scores, collect_branches, score_cells
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
    """One entry a cell; ``forced`` says where the set holds its one class by force; probabilities are [n, c].

    ``set_size`` counts the classes of the prediction set, 0 for cells without counts.
    """

    label: NDArray[np.str_]
    fine: NDArray[np.str_]
    term: NDArray[np.str_]
    confidence: NDArray[np.float32]
    unknown_score: NDArray[np.float32]
    prediction_set: NDArray[np.object_]
    set_size: NDArray[np.int32]
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
    all_forced, set_size = np.zeros(n, bool), np.zeros(n, np.int32)
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
        all_forced[cells], set_size[cells] = forced, included.sum(axis=1)
        probabilities[cells] = scores.fine
    term[term == ""] = UNKNOWN
    return Answer(
        label=label.astype(str),
        fine=fine.astype(str),
        term=term.astype(str),
        confidence=confidence,
        unknown_score=unknown_score,
        prediction_set=sets,
        set_size=set_size,
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
    total = np.bincount(group[group >= 0], minlength=n_groups)
    cells = np.flatnonzero((answer.unknown_score <= reference.scales.unknown.refuse_above) & (group >= 0))
    n_cells = np.bincount(group[cells], minlength=n_groups)
    in_group = sp.csr_matrix((np.ones(len(cells)), (group[cells], np.arange(len(cells)))), (n_groups, len(cells)))
    mean = (in_group @ answer.probabilities[cells]) / np.maximum(n_cells, 1)[:, None]
    none = np.zeros(n_groups, np.float32)
    scores = Scores(mean.astype(np.float32), collect_branches(reference, mean).astype(np.float32), none)
    rung = np.where((2 * n_cells >= total) & (n_cells > 0), decide(reference, ladder, scores).rung, -1)
    best = answer.probabilities[cells].argmax(axis=1)
    agrees = ladder.members[best, rung[group[cells]]]
    share = np.bincount(group[cells], weights=agrees, minlength=n_groups) / np.maximum(total, 1)
    label = np.where(rung >= 0, ladder.label[rung], UNKNOWN)
    return label.astype(str), np.where(rung >= 0, share, np.nan).astype(np.float32)
