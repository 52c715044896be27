"""What a model is trained for, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from ..training import objectives
from ..training.objectives import CellTypes, Joint, Objective, Reading, balanced_weights, integration

if TYPE_CHECKING:
    from ..models import Trainable

ObjectiveName = Literal["auto", "cell_type", "pretraining", "integration"]

# What the name of a model begins with -> what its authors pre-train it for.
PRETRAINING = {
    "scGPT": "GenerativeExpression",
    "Geneformer": "MaskedRanks",
    "scBERT": "MaskedLevels",
    "scFoundation": "ReadDepthAware",
    "scfm-latent": "MaskedValues",
    "scfm-mini": "Reconstruction",
}


def make_objective(
    name: str,
    model: Trainable,
    *,
    labels: NDArray[np.int64] | None,
    n_classes: int,
    n_batches: int,
    class_weights: Literal["balanced"] | None,
    seed: int,
    keeps_head: bool = False,
) -> Objective:
    """Return the objective of this name for this model.

    Parameters
    ----------
    name
        ``"cell_type"``, ``"pretraining"`` or ``"integration"``.
    model
        What is trained.
    labels
        Class of each cell that is learnt from, -1 where unknown.
    n_classes, n_batches
        How many there are in the data.
    class_weights
        ``"balanced"`` gives every class the same share of the loss.
    seed
        Of new heads.
    keeps_head
        Whether the network has a head for these classes.

    Raises
    ------
    InputError
        There is no such name, the model has no such objective, or the data have no labels or batches for it.
    """
    if name == "cell_type":
        if labels is None or n_classes < 2:
            msg = f"Found {n_classes} classes of cells; expected two at least: pass labels_key= to setup_anndata."
            raise InputError(msg)
        if class_weights not in {"balanced", None}:
            msg = f"Found class_weights={class_weights!r}; expected 'balanced', or None for none."
            raise InputError(msg)
        _check_learnt(len(np.unique(labels[labels >= 0])), n_classes)
        weights = None if class_weights is None else balanced_weights(labels, n_classes)
        kind = _SameCellTypes if keeps_head else CellTypes
        return Joint(kind(n_classes, class_weights=weights, seed=seed))
    if name == "pretraining":
        return _pretraining(model)
    if name == "integration":
        if n_batches < 2:
            msg = f"Found {n_batches} batches of cells; expected two at least: pass batch_key= to setup_anndata."
            raise InputError(msg)
        return integration(n_batches, seed=seed)
    msg = f"Found objective={name!r}; expected 'auto', 'cell_type', 'pretraining', 'integration' or an Objective."
    raise InputError(msg)


class _SameCellTypes(CellTypes):
    """Classes that the network has a head for already."""

    def prepare(self, model: Trainable) -> None:
        """Leave the head as it is."""


def _pretraining(model: Trainable) -> Objective:
    named = next((one for family, one in PRETRAINING.items() if model.spec.name.startswith(family)), None)
    if named is None:
        known = ", ".join(PRETRAINING)
        msg = f"{model.spec.name} has no objective of pre-training here ({known} have); pass objective=, an Objective."
        raise InputError(msg)
    made: Any = getattr(objectives, named)()
    return Joint(made) if isinstance(made, Reading) else made


def _check_learnt(n_learnt: int, n_classes: int) -> None:
    """See that there are classes to tell apart in what is left to learn from."""
    if n_learnt < 2:
        msg = (
            f"Found {n_learnt} of {n_classes} classes among the cells to learn from, the others are all held out; "
            "expected two at least: pass another holdout_key= or a smaller validation_size=."
        )
        raise InputError(msg)
    if n_learnt < n_classes:
        say(f"{n_classes - n_learnt} of {n_classes} classes have no cell to learn from and will not be told")


def tells_classes(objective: Objective) -> bool:
    """Whether a head of classes is trained."""
    return bool(_heads(objective))


def check_classes(objective: Objective, n_classes: int) -> None:
    """Stop where an objective tells other classes apart than the data have.

    Raises
    ------
    InputError
        There are more of them, or fewer.
    """
    for part in _heads(objective):
        if part.n_classes != n_classes:
            expected = f"CellTypes({n_classes})" if n_classes else "labels: pass labels_key= to setup_anndata"
            msg = f"Found CellTypes({part.n_classes}) for data of {n_classes} labels; expected {expected}."
            raise InputError(msg)


def _heads(objective: Objective) -> list[CellTypes]:
    return [part for part in getattr(objective, "parts", (objective,)) if isinstance(part, CellTypes)]
