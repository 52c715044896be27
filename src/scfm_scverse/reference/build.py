"""Make a reference from labelled embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .discriminant import fit_discriminant
from .reference import Reference, score_cells
from .scale import Calibration, UnknownScale, fit_calibration, fit_unknown

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


def fit_reference(
    embedding: NDArray[np.floating],
    labels: Labels,
    batch: NDArray[np.integer],
    *,
    name: str,
    model_id: str,
    from_profiles: NDArray[np.bool_] | None = None,
) -> Reference:
    """Fit the discriminants; the scales stay neutral until left-out cells have been seen."""
    n_classes = len(labels.name)
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
        fine=fit_discriminant(embedding, labels.code, batch),
        coarse=fit_discriminant(embedding, labels.branch[labels.code], batch),
        temperature=TEMPERATURE,
        fine_calibration=Calibration(1.0, 0.0),
        branch_calibration=Calibration(1.0, 0.0),
        unknown=UnknownScale(np.array([0.0, 1.0], np.float32), 1.0),
    )


def build_reference(
    embedding: NDArray[np.float32],
    label: NDArray[np.str_],
    term: NDArray[np.str_],
    batch: NDArray[np.str_] | None,
    *,
    name: str,
    model_id: str,
    random_state: int = 0,
) -> Reference:
    """Make a reference from the user's labelled cells, its scales from cells left out of the fit.

    Whole batches are left out where there are several, else a fifth of the cells at a time.

    Parameters
    ----------
    embedding
        [n, d], no missing values.
    label, term
        Label and ontology id ('' where none) of each cell, [n].
    batch
        Donor or study of each cell, [n].
    """
    names, first, code = np.unique(label, return_index=True, return_inverse=True)
    if len(names) < 2:
        msg = f"The reference has {len(names)} label ({', '.join(names)}); expected two at least in labels_key."
        raise InputError(msg)
    labels = Labels(
        code=code.astype(np.int32),
        name=names,
        term=term[first],
        branch=np.arange(len(names), dtype=np.int32),
        branch_name=names,
        branch_term=term[first],
        branch_prior=np.ones(len(names)),
    )
    batches = np.zeros(len(label), int) if batch is None else np.unique(batch, return_inverse=True)[1]
    fold = _folds(batches, random_state)
    full = fit_reference(embedding, labels, batches, name=name, model_id=model_id)
    return calibrate(full, *_left_out(embedding, labels, batches, fold))


def _folds(batch: NDArray[np.integer], random_state: int) -> NDArray[np.integer]:
    if batch.max() > 0:
        return batch % N_FOLDS
    return np.random.default_rng(random_state).permutation(len(batch)) % N_FOLDS


def _left_out(
    embedding: NDArray[np.float32], labels: Labels, batch: NDArray[np.integer], fold: NDArray[np.integer]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]]:
    """Top probability, whether it is right, and nearest distance of cells whose class the other folds know."""
    top, right, nearest = [], [], []
    for out in np.unique(fold):
        kept = np.flatnonzero(fold != out)
        classes, code = np.unique(labels.code[kept], return_inverse=True)
        tested = np.flatnonzero((fold == out) & np.isin(labels.code, classes))
        if len(classes) < 2 or len(tested) == 0:
            continue
        part = replace(
            labels,
            code=code.astype(np.int32),
            name=labels.name[classes],
            term=labels.term[classes],
            branch=np.arange(len(classes), dtype=np.int32),
            branch_name=labels.name[classes],
            branch_term=labels.term[classes],
            branch_prior=np.ones(len(classes)),
        )
        scores = score_cells(fit_reference(embedding[kept], part, batch[kept], name="", model_id=""), embedding[tested])
        top.append(scores.fine.max(axis=1))
        right.append(classes[scores.fine.argmax(axis=1)] == labels.code[tested])
        nearest.append(scores.nearest)
    if not top:
        msg = "No label occurs in two batches, so confidence cannot be measured; pass batch_key=None or other labels."
        raise InputError(msg)
    return np.concatenate(top), np.concatenate(right), np.concatenate(nearest)


def calibrate(
    reference: Reference, top: NDArray[np.floating], right: NDArray[np.bool_], nearest: NDArray[np.floating]
) -> Reference:
    """Set the scales of a reference without branches from cells that were left out of its fit."""
    weight = np.ones(len(top))
    calibration = fit_calibration(top, right, weight)
    return replace(
        reference,
        fine_calibration=calibration,
        branch_calibration=calibration,
        unknown=fit_unknown(nearest[right], weight[right]),
    )
