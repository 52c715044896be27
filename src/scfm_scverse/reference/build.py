"""Make a reference from labelled embeddings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .discriminant import fit_discriminant, posterior
from .reference import Reference
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
    known: Reference | None = None,
    random_state: int = 0,
) -> Reference:
    """Make a reference from the user's labelled cells.

    One study cannot show how studies differ. Where the model has a reference made of many (``known``), its scatter
    inside classes and its unknown limit are taken over, and the user's cells give the class means alone. Confidence is
    measured on whole batches left out; without batches that of ``known`` is taken, or else a fifth of the cells is left
    out at a time.

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
    batches = np.zeros(len(label), int) if batch is None else np.unique(batch, return_inverse=True)[1]
    whitening = None if known is None else known.fine.whitening
    fine = fit_discriminant(embedding, code, batches, whitening=whitening)
    reference = Reference(
        name=name,
        model_id=model_id,
        label=names,
        term=term[first],
        from_profiles=np.zeros(len(names), bool),
        branch=np.arange(len(names), dtype=np.int32),
        branch_label=names,
        branch_term=term[first],
        branch_prior=np.ones(len(names)),
        fine=fine,
        coarse=fine,
        temperature=TEMPERATURE,
        fine_calibration=Calibration(1.0, 0.0) if known is None else known.fine_calibration,
        branch_calibration=Calibration(1.0, 0.0) if known is None else known.fine_calibration,
        unknown=UnknownScale(np.array([0.0, 1.0], np.float32), 1.0) if known is None else known.unknown,
    )
    several = batches.max() > 0
    if known is not None and not several:
        return reference
    fold = batches % N_FOLDS if several else np.random.default_rng(random_state).permutation(len(code)) % N_FOLDS
    top, right, nearest = _left_out(embedding, code, batches, fold, whitening)
    calibration = fit_calibration(top, right, np.ones(len(top)))
    unknown = fit_unknown(nearest[right], np.ones(int(right.sum()))) if known is None else known.unknown
    return replace(reference, fine_calibration=calibration, branch_calibration=calibration, unknown=unknown)


def _left_out(
    embedding: NDArray[np.float32],
    code: NDArray[np.integer],
    batch: NDArray[np.integer],
    fold: NDArray[np.integer],
    whitening: NDArray[np.float32] | None,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64]]:
    """Top probability, whether it is right, and nearest distance of cells whose class the other folds know."""
    top, right, nearest = [], [], []
    for out in np.unique(fold):
        kept = np.flatnonzero(fold != out)
        classes, inner = np.unique(code[kept], return_inverse=True)
        tested = np.flatnonzero((fold == out) & np.isin(code, classes))
        if len(classes) < 2 or len(tested) == 0:
            continue
        fitted = fit_discriminant(embedding[kept], inner, batch[kept], whitening=whitening)
        distances = fitted.distances(embedding[tested])
        probability = posterior(distances, np.ones(len(classes)), TEMPERATURE)
        top.append(probability.max(axis=1))
        right.append(classes[probability.argmax(axis=1)] == code[tested])
        nearest.append(distances.min(axis=1))
    if not top:
        msg = "No label occurs in two batches, so confidence cannot be measured; pass batch_key=None or other labels."
        raise InputError(msg)
    return np.concatenate(top), np.concatenate(right), np.concatenate(nearest)
