"""Cells of studies left out of everything: what the reference says of them, and the scales learnt from that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference.reference import Reference, score_cells
from scfm_scverse.reference.scale import fit_calibration, fit_unknown

from .build import Built
from .head import embed_study
from .labels import TRIAL_CLASSES
from .studies import Study


@dataclass(frozen=True)
class LeftOut:
    """Outcome for the cells of one study, one entry a cell.

    ``answer`` and ``truth`` are broad classes; ``branch_p`` and ``fine_p`` the probabilities of the best branch and of
    the best class inside it; ``fine_right`` is 1 right, 0 wrong, -1 where the author's label cannot tell.
    """

    study: str
    truth: NDArray[np.str_]
    answer: NDArray[np.str_]
    branch_p: NDArray[np.float32]
    fine_p: NDArray[np.float32]
    fine_right: NDArray[np.int8]
    nearest: NDArray[np.float32]
    malignant: NDArray[np.bool_]
    scored: NDArray[np.bool_]


def left_out(built: Built, study: Study) -> LeftOut:
    """Ask a reference that never saw this study, nor its group, about its cells."""
    scores = score_cells(built.reference, embed_study(built.model, study))
    broad_of_branch = np.array(sorted(built.branch_of, key=lambda one: built.branch_of[one]))
    branch = scores.branch.argmax(axis=1)
    inside = np.where(built.reference.branch[None, :] == branch[:, None], scores.fine, -1)
    best = inside.argmax(axis=1)
    return LeftOut(
        study=study.name,
        truth=study.broad,
        answer=broad_of_branch[branch],
        branch_p=scores.branch.max(axis=1),
        fine_p=inside.max(axis=1),
        fine_right=fine_outcome(study.term, built.reference.term[best]),
        nearest=scores.nearest,
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


def balanced(outcome: LeftOut) -> NDArray[np.float64]:
    """Weights of scored cells: studies alike, classes inside a study by the root of their cells."""
    _, code, size = np.unique(outcome.truth[outcome.scored], return_inverse=True, return_counts=True)
    weight = size[code] ** -0.5
    return weight / weight.sum()


def with_scales(reference: Reference, outcomes: Iterable[LeftOut]) -> Reference:
    """Set confidence and unknown score from studies left out."""
    kept = [one for one in outcomes if one.scored.any()]
    weight = np.concatenate([balanced(one) for one in kept])

    def of(name: str) -> NDArray:
        return np.concatenate([getattr(one, name)[one.scored] for one in kept])

    right = of("answer") == of("truth")
    fine_right = of("fine_right")
    known = fine_right >= 0
    return replace(
        reference,
        branch_calibration=fit_calibration(of("branch_p"), right, weight),
        fine_calibration=fit_calibration(of("fine_p")[known], fine_right[known] == 1, weight[known]),
        unknown=fit_unknown(of("nearest")[right], weight[right]),
    )
