"""A reference: labelled classes in the space of one model, and what is needed to name new cells by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import CheckpointError
from ..io.safetensors import load_tensors, save_tensors
from .discriminant import Discriminant, posterior
from .scale import Calibration, UnknownScale

DEFAULT = Path(__file__).parent / "data" / "default.safetensors"
FORMAT = 1
FINE_SHARE = 0.3  # weight of the fine classes in the choice of a branch; the rest is the branches' own discriminant


@dataclass(frozen=True)
class Reference:
    """Classes, the branches that they belong to, and the scales that turn distances into probabilities.

    Attributes
    ----------
    name
        What it was made from, in a few words.
    model_id
        Id of the model in whose space it lives; another model's embeddings are refused.
    label, term
        Name and Cell Ontology id ('' where none fits) of each class, [c].
    from_profiles
        Classes that averaged profiles define, without a single real cell, [c].
    branch
        Position of each class's branch, [c].
    branch_label, branch_term
        Name and ontology id of each branch, [b].
    branch_prior
        Relative expectation of each branch before a cell is seen, [b].
    fine, coarse
        Discriminants of the classes and of the branches.
    temperature
        Divisor of distances that makes probabilities.
    fine_calibration, branch_calibration
        From such probabilities to the share of right answers among cells of studies left out.
    unknown
        From the distance to the nearest class to a score between 0 and 1, and the score above which a cell is refused.
    """

    name: str
    model_id: str
    label: NDArray[np.str_]
    term: NDArray[np.str_]
    from_profiles: NDArray[np.bool_]
    branch: NDArray[np.int32]
    branch_label: NDArray[np.str_]
    branch_term: NDArray[np.str_]
    branch_prior: NDArray[np.float64]
    fine: Discriminant
    coarse: Discriminant
    temperature: float
    fine_calibration: Calibration
    branch_calibration: Calibration
    unknown: UnknownScale


@dataclass(frozen=True)
class Scores:
    """What a reference says of cells: class probabilities [n, c], branch probabilities [n, b], nearest distance [n]."""

    fine: NDArray[np.float32]
    branch: NDArray[np.float32]
    nearest: NDArray[np.float32]


def score_cells(reference: Reference, embedding: NDArray[np.float32]) -> Scores:
    """Compare cells with a reference.

    The branch is chosen by two discriminants together, one over branches and one over classes; classes then share
    their branch's probability, so that the two levels never contradict each other.
    """
    distances = reference.fine.distances(embedding)
    nearest = distances.min(axis=1)
    n_branches = len(reference.branch_label)
    size = np.bincount(reference.branch, minlength=n_branches)
    # The root of a branch's size lies between counting its classes and counting the branch once.
    fine = posterior(distances, 1 / np.sqrt(size[reference.branch]), reference.temperature)
    collected = np.zeros((len(embedding), n_branches))
    for branch in range(n_branches):
        collected[:, branch] = fine[:, reference.branch == branch].sum(axis=1)
    coarse = posterior(reference.coarse.distances(embedding), np.ones(n_branches), reference.temperature)
    logits = FINE_SHARE * np.log(collected + 1e-30) + (1 - FINE_SHARE) * np.log(coarse + 1e-30)
    together = posterior(-2 * logits, reference.branch_prior, 1.0)
    fine *= (together / np.maximum(collected, 1e-30))[:, reference.branch]
    return Scores(*(part.astype(np.float32) for part in (fine, together, nearest)))


_ARRAYS = ("from_profiles", "branch", "branch_prior")
_TEXTS = ("label", "term", "branch_label", "branch_term")


def save_reference(reference: Reference, path: Path) -> None:
    """Write a reference to one file."""
    tensors: dict[str, NDArray[Any]] = {name: getattr(reference, name) for name in _ARRAYS}
    for level, discriminant in (("fine", reference.fine), ("coarse", reference.coarse)):
        tensors[f"{level}_whitening"] = discriminant.whitening.astype(np.float16)
        tensors[f"{level}_means"] = discriminant.means.astype(np.float16)
    tensors["unknown_quantiles"] = reference.unknown.quantiles
    about = {
        "format": FORMAT,
        "name": reference.name,
        "model_id": reference.model_id,
        "temperature": reference.temperature,
        "fine_calibration": [reference.fine_calibration.slope, reference.fine_calibration.intercept],
        "branch_calibration": [reference.branch_calibration.slope, reference.branch_calibration.intercept],
        "refuse_above": reference.unknown.refuse_above,
        **{name: getattr(reference, name).tolist() for name in _TEXTS},
    }
    save_tensors(path, tensors, about)


def load_reference(path: Path) -> Reference:
    """Read what :func:`save_reference` wrote."""
    tensors, about = load_tensors(path)
    if about.get("format") != FORMAT:
        msg = f"{path} has format {about.get('format')!r}; this version of the package reads format {FORMAT}."
        raise CheckpointError(msg)

    def discriminant(level: str) -> Discriminant:
        parts = (tensors[f"{level}_{part}"].astype(np.float32) for part in ("whitening", "means"))
        return Discriminant(*parts)

    return Reference(
        name=about["name"],
        model_id=about["model_id"],
        temperature=about["temperature"],
        fine=discriminant("fine"),
        coarse=discriminant("coarse"),
        fine_calibration=Calibration(*about["fine_calibration"]),
        branch_calibration=Calibration(*about["branch_calibration"]),
        unknown=UnknownScale(tensors["unknown_quantiles"], about["refuse_above"]),
        **{name: tensors[name] for name in _ARRAYS},
        **{name: np.array(about[name]) for name in _TEXTS},
    )


@cache
def load_default_reference() -> Reference:
    """Read the reference that comes with the package."""
    return load_reference(DEFAULT)
