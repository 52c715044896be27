"""Many perturbations of the same cells, one part of them after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ..inference.device import Dtype
from ..models import CellModel
from .copies import Copies, Kind, copies_of
from .effects import Reading, stream_shifts
from .pairs import Edits

Weights = tuple[float, ...]
"""Weight of the shift to each state: 1 for the goal, -1 for the start, 0 for others."""
ROUNDS = 32  # copies of each cell that are planned together: the cell itself runs once for all of them


@dataclass(frozen=True)
class Measured:
    """What a model says of some perturbations, cell by cell.

    Attributes
    ----------
    perturbations
        int64 [q]: which perturbations; together every one once.
    copies
        All copies of their cells [m].
    perturbation
        int64 [m]: perturbation of each copy.
    effect
        float32 [m]: 1 - cosine to the cell (or as the model's authors compare).
    to_states
        float32 [m, s]: change of the cosine to each state.
    """

    perturbations: NDArray[np.int64]
    copies: Copies
    perturbation: NDArray[np.int64]
    effect: NDArray[np.float32]
    to_states: NDArray[np.float32]

    def score(self, towards: Weights | None) -> NDArray[np.float32]:
        """Number that is tested [m]: the effect, or the sum of the shifts to states by their weights."""
        return self.effect if towards is None else self.to_states @ np.array(towards, np.float32)


def count_copies(
    edits: Edits, perturbations: Sequence[NDArray[np.int32]], kind: Kind, cells: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """How many cells each perturbation changes [p]."""
    held = edits.held if cells is None else edits.held[cells]
    if kind == "overexpress":
        return np.full(len(perturbations), held.shape[0])
    of_gene = np.diff(held.indptr)
    return np.array(
        [of_gene[genes[0]] if len(genes) == 1 else len(copies_of(held, genes, kind)) for genes in perturbations],
        np.int64,
    )


def run_screen(
    model: CellModel,
    edits: Edits,
    perturbations: Sequence[NDArray[np.int32]],
    kind: Kind,
    dose: float,
    reading: Reading,
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    batch_size: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Measured]:
    """Run a model over the cells that hold the genes of each perturbation.

    Parameters
    ----------
    model
        The model.
    edits
        The cells, and how copies of them are made.
    perturbations
        Positions in the vocabulary of the genes of each.
    kind, dose
        What happens to the genes.
    reading
        What is read, and how a copy is compared with its cell.
    device, dtype, batch_size
        As of :func:`stream_shifts`.
    advance
        Called with the number of copies just done.

    Yields
    ------
    Some perturbations, all their cells; memory does not grow with the number of perturbations.
    """
    limit = ROUNDS * max(1, len(edits.tokens))
    for which, copies, perturbation in _parts(edits, perturbations, kind, dose, limit):
        effect = np.full(len(copies), np.nan, np.float32)
        n_states = 0 if reading.states is None else len(reading.states)
        to_states = np.full((len(copies), n_states), np.nan, np.float32)
        stream = stream_shifts(
            model, edits, copies, reading, device=device, dtype=dtype, batch_size=batch_size, advance=advance
        )
        for shifts in stream:
            effect[shifts.copy] = 1 - shifts.similarity
            to_states[shifts.copy] = shifts.to_states
        yield Measured(which, copies, perturbation, effect, to_states)


def _parts(
    edits: Edits, perturbations: Sequence[NDArray[np.int32]], kind: Kind, dose: float, limit: int
) -> Iterator[tuple[NDArray[np.int64], Copies, NDArray[np.int64]]]:
    """Cut perturbations into parts of not many more copies than the limit; the genes of a part are equally many."""
    order = sorted(range(len(perturbations)), key=lambda at: len(perturbations[at]))
    alive = np.flatnonzero(edits.tokens.lengths > 0)
    for _, same in groupby(order, key=lambda at: len(perturbations[at])):
        which: list[int] = []
        made: list[Copies] = []
        for at in same:
            which.append(at)
            made.append(copies_of(edits.held, perturbations[at], kind, dose=dose, cells=alive))
            if sum(map(len, made)) >= limit:
                yield _joined(which, made)
                which, made = [], []
        if which:
            yield _joined(which, made)


def _joined(which: list[int], made: list[Copies]) -> tuple[NDArray[np.int64], Copies, NDArray[np.int64]]:
    joined = replace(
        made[0],
        cell=np.concatenate([copies.cell for copies in made]),
        genes=np.concatenate([copies.genes for copies in made]),
    )
    return np.array(which), joined, np.repeat(np.array(which), [len(copies) for copies in made])
