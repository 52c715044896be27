"""Which perturbations a screen consists of, and which of them cannot be run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations as combine
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from ..perturbation.names import parse_perturbation
from ._perturbation import WHY, find_genes

if TYPE_CHECKING:
    from .._query import Query

TWICE = "given twice"
NO_PERTURBATION = "no perturbation"  # the same gene twice together, an empty name, a number


@dataclass(frozen=True)
class Planned:
    """One perturbation of a screen.

    Attributes
    ----------
    name
        Names of its genes, joined by "+".
    genes
        int32 [k]: their positions in the vocabulary.
    fault
        Why it cannot be run, or "".
    """

    name: str
    genes: NDArray[np.int32]
    fault: str = ""


def plan_all(query: Query, column_of: NDArray[np.int64]) -> list[Planned]:
    """Plan to perturb every gene of the data that the model knows, by the name that the data has for it."""
    known = np.flatnonzero(column_of >= 0)
    return [Planned(query.match.names[column_of[gene]], np.array([gene], np.int32)) for gene in known.tolist()]


def plan_named(asked: Iterable[str | Sequence[str]], together: int, query: Query) -> list[Planned]:
    """Plan the perturbations asked for, or all combinations of ``together`` of them.

    Raises
    ------
    InputError
        Nothing was asked for, something is no perturbation, or combinations of combinations are meant.
    """
    named, unreadable = _read(asked)
    if not named and not unreadable:
        msg = (
            "Found no gene to perturb in genes= or perturbation_key=; expected names of genes, or neither of both for "
            "all that are expressed."
        )
        raise InputError(msg)
    if together > 1 and any(len(genes) > 1 for genes in named):
        example = "+".join(next(genes for genes in named if len(genes) > 1))
        msg = f"Found {example!r} with combinations={together}; expected single genes, which are then combined."
        raise InputError(msg)
    unique = list(dict.fromkeys(name for genes in named for name in genes))
    position = dict(zip(unique, find_genes(unique, query).tolist(), strict=True))
    planned = unreadable + _planned(named, position)
    if together == 1:
        return planned
    usable = [one for one in planned if not one.fault]
    if len(usable) < together:
        msg = f"Found {len(usable)} usable genes for combinations={together}; expected {together} at least."
        raise InputError(msg)
    made = [
        Planned("+".join(one.name for one in some), np.concatenate([one.genes for one in some]))
        for some in combine(usable, together)
    ]
    return [one for one in planned if one.fault] + made


def _read(asked: Iterable[str | Sequence[str]]) -> tuple[list[tuple[str, ...]], list[Planned]]:
    """Genes of each perturbation; what is none goes into the table as such, so that the others are run."""
    named, unreadable = [], []
    for one in asked:
        try:
            genes = parse_perturbation(one)
        except InputError:
            unreadable.append(Planned(str(one), np.zeros(0, np.int32), NO_PERTURBATION))
        else:
            named += [genes] if genes else []
    return named, unreadable


def _planned(named: list[tuple[str, ...]], position: dict[str, int]) -> list[Planned]:
    seen: set[frozenset[int]] = set()
    planned = []
    for names in named:
        genes = np.array([position[name] for name in names], np.int32)
        key = frozenset(genes.tolist())
        if (genes < 0).any():
            fault = WHY[int(genes[genes < 0][0])]
        elif key in seen or len(key) < len(genes):
            fault = TWICE
        else:
            fault = ""
            seen.add(key)
        planned.append(Planned("+".join(names), genes, fault))
    return planned
