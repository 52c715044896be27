"""Make a reference from labelled embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .answer import decide
from .discriminant import fit_bulk, fit_discriminant
from .ladder import build_ladder
from .reference import LabelledCells, Reference
from .scale import Scales, fit_confidence, fit_sets, fit_unknown, neutral_scales
from .scores import score_cells

TEMPERATURE = 10.0
N_FOLDS = 5


@dataclass(frozen=True)
class Labels:
    """Classes of cells and the branches of classes.

    ``code`` [n] is the class of each cell; ``name`` and ``term`` [c] describe classes; ``branch`` [c],
    ``branch_name``, ``branch_term`` and ``branch_prior`` [b] their branches.
    """

    code: NDArray[np.int32]
    name: NDArray[np.str_]
    term: NDArray[np.str_]
    branch: NDArray[np.int32]
    branch_name: NDArray[np.str_]
    branch_term: NDArray[np.str_]
    branch_prior: NDArray[np.float64]


class LeftOut(NamedTuple):
    """Cells left out: probability and right or wrong of the answer, distance, probability of the true class."""

    share: NDArray[np.float64]
    right: NDArray[np.bool_]
    distance: NDArray[np.float64]
    true_share: NDArray[np.float64]


def flat_labels(names: NDArray[np.str_], term: NDArray[np.str_], code: NDArray[np.integer]) -> Labels:
    """Classes that are each a branch of its own."""
    n_classes = len(names)
    return Labels(
        code=code.astype(np.int32),
        name=names,
        term=term,
        branch=np.arange(n_classes, dtype=np.int32),
        branch_name=names,
        branch_term=term,
        branch_prior=np.ones(n_classes),
    )


def fit_reference(
    embedding: NDArray[np.floating],
    labels: Labels,
    batch: NDArray[np.str_],
    *,
    name: str,
    model_id: str,
    from_profiles: NDArray[np.bool_] | None = None,
    known: Reference | None = None,
) -> Reference:
    """Fit the discriminants, with the scatter of ``known`` where given; scales stay neutral or are those of ``known``.

    Confidence and sets need cells that were left out.
    """
    n_classes = len(labels.name)
    batches = np.unique(batch, return_inverse=True)[1]
    branch_code = labels.branch[labels.code]
    whitening = None if known is None else known.fine.whitening
    fine = fit_discriminant(embedding, labels.code, batches, whitening=whitening)
    flat = len(labels.branch_name) == n_classes
    return Reference(
        name=name,
        model_id=model_id,
        label=labels.name,
        term=labels.term,
        from_profiles=np.zeros(n_classes, bool) if from_profiles is None else from_profiles,
        branch=labels.branch,
        branch_label=labels.branch_name,
        branch_term=labels.branch_term,
        branch_prior=labels.branch_prior,
        fine=fine,
        coarse=fine if flat else fit_discriminant(embedding, branch_code, batches, whitening=whitening),
        overall=fit_bulk(embedding, branch_code, batches) if known is None else known.overall,
        temperature=TEMPERATURE,
        scales=neutral_scales() if known is None else known.scales,
        cells=LabelledCells(embedding.astype(np.float16), labels.code.astype(np.int32), batch),
    )


def build_reference(
    embedding: NDArray[np.float32],
    label: NDArray[np.str_],
    term: NDArray[np.str_],
    batch: NDArray[np.str_] | None,
    *,
    name: str,
    model_id: str,
    known: Reference | None = None,
    random_state: int = 0,
) -> Reference:
    """Make a reference from the user's labelled cells.

    One study cannot show how studies differ. Where the model has a reference made of many (``known``), most of its
    scatter inside classes and its unknown limit are taken over. Confidence and prediction sets are measured on whole
    batches left out; without batches on a fifth of the cells at a time, and confidence then stays below that of
    ``known`` at the same probability.

    Parameters
    ----------
    embedding
        [n, d], no missing values.
    label, term
        Label and ontology id ('' where none) of each cell, [n].
    batch
        Donor or study of each cell, [n].
    name, model_id
        What it was made from, and by which model.
    known
        A reference of the same model, made from many studies.
    random_state
        Seed of the choice of cells that are left out.
    """
    names, first, code = np.unique(label, return_index=True, return_inverse=True)
    if len(names) < 2:
        msg = f"The reference has {len(names)} label ({', '.join(names)}); expected two at least in labels_key."
        raise InputError(msg)
    labels = flat_labels(names, term[first], code)
    batches = np.full(len(label), "") if batch is None else batch
    reference = fit_reference(embedding, labels, batches, name=name, model_id=model_id, known=known)
    donors, donor = np.unique(batches, return_inverse=True)
    fold = donor % N_FOLDS if len(donors) > 1 else np.random.default_rng(random_state).permutation(len(code)) % N_FOLDS
    outcome = _leave_out(embedding, labels, batches, fold, known)
    if outcome is None and known is not None:
        return reference
    if outcome is None:
        what = "batch_key" if len(donors) > 1 else "labels_key"
        msg = f"No label occurs in two parts of the reference, so confidence cannot be measured; pass another {what}."
        raise InputError(msg)
    return replace(reference, scales=_fit_scales(outcome, known, several=len(donors) > 1))


def _leave_out(
    embedding: NDArray[np.float32],
    labels: Labels,
    batch: NDArray[np.str_],
    fold: NDArray[np.integer],
    known: Reference | None,
) -> LeftOut | None:
    """What the other folds say of the cells of each fold whose class they know."""
    parts = []
    for out in np.unique(fold):
        kept = np.flatnonzero(fold != out)
        classes, inner = np.unique(labels.code[kept], return_inverse=True)
        tested = np.flatnonzero((fold == out) & np.isin(labels.code, classes))
        if len(classes) < 2 or len(tested) == 0:
            continue
        part = flat_labels(labels.name[classes], labels.term[classes], inner)
        made = fit_reference(embedding[kept], part, batch[kept], name="", model_id="", known=known)
        ladder = build_ladder(made)
        scores = score_cells(made, embedding[tested])
        decision = decide(made, ladder, scores)
        truth = np.searchsorted(classes, labels.code[tested])
        rung = np.where(decision.rung >= 0, decision.rung, decision.best)
        right = ladder.members[truth, rung]
        parts.append((decision.share, right, scores.distance, scores.fine[np.arange(len(truth)), truth]))
    if not parts:
        return None
    return LeftOut(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def _fit_scales(outcome: LeftOut, known: Reference | None, *, several: bool) -> Scales:
    weight = np.ones(len(outcome.right))
    return Scales(
        confidence=fit_confidence(outcome.share, outcome.distance, outcome.right, weight),
        sets=fit_sets(outcome.true_share, weight),
        unknown=fit_unknown(outcome.distance[outcome.right], weight[outcome.right])
        if known is None
        else known.scales.unknown,
        ceiling=None if known is None or several else known.scales.confidence,
    )
