"""Cells of studies left out of everything: what the reference says of them, and the scales learnt from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference.answer import decide
from scfm_scverse.reference.ladder import build_ladder
from scfm_scverse.reference.reference import Reference
from scfm_scverse.reference.scale import Scales, fit_confidence, fit_sets, fit_unknown
from scfm_scverse.reference.scores import score_cells

from .build import Built
from .head import embed_study
from .labels import TRIAL_CLASSES
from .studies import Study


@dataclass(frozen=True)
class LeftOut:
    """Outcome for the cells of one study, one entry a cell.

    ``answer`` and ``truth`` are broad classes; ``share`` the probability of the answer of any depth, ``right`` whether
    it is right (1, 0, or -1 where the author's label cannot tell), ``fine_right`` the same for the best class;
    ``true_share`` the probability of the author's class, NaN where the label is no single class; ``distance`` how far
    the cell lies from all classes.
    """

    study: str
    truth: NDArray[np.str_]
    answer: NDArray[np.str_]
    share: NDArray[np.float32]
    right: NDArray[np.int8]
    fine_right: NDArray[np.int8]
    true_share: NDArray[np.float32]
    distance: NDArray[np.float32]
    malignant: NDArray[np.bool_]
    scored: NDArray[np.bool_]


def left_out(built: Built, study: Study) -> LeftOut:
    """Ask a reference that never saw this study, nor its group, about its cells."""
    reference = built.reference
    ladder = build_ladder(reference)
    scores = score_cells(reference, embed_study(built.model, study))
    decision = decide(reference, ladder, scores)
    broad_of_branch = np.array(sorted(built.branch_of, key=lambda one: built.branch_of[one]))
    answered = decision.rung >= 0
    return LeftOut(
        study=study.name,
        truth=study.broad,
        answer=broad_of_branch[scores.branch.argmax(axis=1)],
        share=decision.share,
        right=np.where(answered, fine_outcome(study.term, ladder.term[decision.rung]), -1).astype(np.int8),
        fine_right=fine_outcome(study.term, reference.term[decision.best]),
        true_share=true_share(study.term, reference.term, scores.fine),
        distance=scores.distance,
        malignant=study.malignant,
        scored=scored_cells(study, broad_of_branch),
    )


def scored_cells(study: Study, known: NDArray[np.str_]) -> NDArray[np.bool_]:
    """Cells of trial classes that training knows and that the study holds five of at least."""
    wanted = np.isin(study.broad, TRIAL_CLASSES) & np.isin(study.broad, known) & ~study.malignant
    names, counts = np.unique(study.broad[wanted], return_counts=True)
    return wanted & np.isin(study.broad, names[counts >= 5])


def fine_outcome(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> NDArray[np.int8]:
    """1 where the truth is the answer or below it, -1 where the answer is below the truth, 0 elsewhere."""
    ontology = load_ontology()
    pairs, code = np.unique(np.stack([truth, answer]), axis=1, return_inverse=True)
    outcome = np.full(pairs.shape[1], -1, np.int8)
    for at, (one, other) in enumerate(pairs.T):
        if one:
            right = ontology.is_a(str(one), str(other))
            outcome[at] = 1 if right else -1 if ontology.is_a(str(other), str(one)) else 0
    return outcome[code.ravel()]


def true_share(
    truth: NDArray[np.str_], terms: NDArray[np.str_], probability: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Largest probability of a class that is the truth or lies above it; NaN where a class lies below the truth."""
    ontology = load_ontology()
    out = np.full(len(truth), np.nan, np.float32)
    for one in np.unique(truth[truth != ""]):
        holds = np.array([ontology.is_a(str(one), str(term)) for term in terms])
        divided = any(term != one and ontology.is_a(str(term), str(one)) for term in terms)
        if holds.any() and not divided:
            cells = truth == one
            out[cells] = probability[np.ix_(cells, holds)].max(axis=1)
    return out


def balanced(outcome: LeftOut) -> NDArray[np.float64]:
    """Weights of scored cells: studies alike, classes inside a study by the root of their cells."""
    _, code, size = np.unique(outcome.truth[outcome.scored], return_inverse=True, return_counts=True)
    weight = size[code] ** -0.5
    return weight / weight.sum()


def with_scales(reference: Reference, outcomes: Iterable[LeftOut]) -> Reference:
    """Set confidence, prediction sets and unknown score from studies left out.

    For confidence and sets every study weighs by the root of its cells; for the limit of "unknown" they weigh alike.
    """
    kept = [one for one in outcomes if one.scored.any()]
    alike = np.concatenate([balanced(one) for one in kept])
    by_root = np.concatenate([np.full(one.scored.sum(), one.scored.sum() ** -0.5) for one in kept])

    def of(name: str) -> NDArray:
        return np.concatenate([getattr(one, name)[one.scored] for one in kept])

    judged, resolved, known = of("right") >= 0, np.isfinite(of("true_share")), of("answer") == of("truth")
    scales = Scales(
        confidence=fit_confidence(
            of("share")[judged], of("distance")[judged], of("right")[judged] == 1, by_root[judged]
        ),
        sets=fit_sets(of("true_share")[resolved], by_root[resolved]),
        unknown=fit_unknown(of("distance")[known], alike[known]),
    )
    return replace(reference, scales=scales)
