"""The screen of one group of cells, dose by dose: from cells to rows of the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._logging import progress_bar, say
from .._query import Query
from ..inference import Partial
from ..inference.device import cpu_threads
from ..io.blocks import take_rows
from ..models import CellModel
from ..perturbation import Edits, Kind, Reading
from ..perturbation.expression_space import ExpressionSpace
from ..perturbation.group_screen import GroupScreen, Perturbations
from ..perturbation.matching import ExpressionRanks, expression_ranks
from ..perturbation.screen import count_copies
from ..perturbation.summary import NUMBERS, Baseline, Testing
from ..tokens.blocks import first_columns, to_linear
from ._perturbation import edits_of
from ._screen_cells import States, state_means
from ._screen_kept import Kept, digest
from ._screen_plan import Planned

TESTED, NOT_RUN = "tested", "not run"
TOO_FEW, IN_NO_CELL, NO_GOAL = "too few cells", "expressed in no cell", "no cells of a state"
FEW_DONORS, NO_NULL = "too few donors", "no matched genes"
ALWAYS, SHARE = 100, 0.06  # of a screen that are run exactly after a first ranking: so many, and this share at least


@dataclass(frozen=True)
class Components:
    """The simple model beside the large one.

    Attributes
    ----------
    space
        Principal components of expression.
    positions
        float64 [n, c]: where the cells of the states lie; ``None`` without a goal.
    """

    space: ExpressionSpace
    positions: NDArray[np.float64] | None


@dataclass(frozen=True)
class Screen:
    """What the groups and doses of a screen have in common.

    Attributes
    ----------
    query, model, totals
        What is read, by which model, and total counts of the cells [n] if told.
    planned, every
        Perturbations asked for; whether nobody named them, so that those in few cells are left out of the table.
    kind
        What happens to the genes.
    states, embedding
        States of cells if there is a goal; embedding of the cells [n, d].
    reading
        What is read of the model.
    testing, donors
        How effects are tested; donor of each cell [n], -1 for none.
    n_null, min_cells
        Perturbations drawn to compare with; cells that a test needs.
    first, n_exact
        What ranks the perturbations first, if anything, and how many of them are run exactly.
    device, batch_size
        How the model runs.
    kept
        Where finished work is kept; ``None`` keeps nothing.
    """

    query: Query
    model: CellModel
    totals: NDArray[np.float64] | None
    planned: list[Planned]
    every: bool
    kind: Kind
    states: States | None
    embedding: NDArray[np.float32] | None
    reading: Reading
    testing: Testing
    donors: NDArray[np.int64] | None
    n_null: int
    min_cells: int
    first: Literal["gradient", "bfloat16"] | None
    n_exact: int | None
    device: str
    batch_size: int | None
    kept: Kept | None


def run_group(
    screen: Screen,
    components: Components,
    name: str,
    cells: NDArray[np.int64],
    within: NDArray[np.bool_],
    doses: list[float],
) -> pd.DataFrame:
    """Screen some cells of a group [n]: one row a perturbation and dose."""
    block, edits = read_cells(screen, cells)
    if screen.every:
        expressed = _count_cells(screen, edits, "delete") >= screen.min_cells
        screen = replace(screen, planned=[screen.planned[at] for at in np.flatnonzero(expressed).tolist()])
    table = _frame(screen, name, _count_cells(screen, edits, screen.kind))
    vectors, has_states = states_of(screen, within)
    if not has_states:
        table.loc[table["status"] == "", "status"] = NO_GOAL
    left = np.flatnonzero(table["status"] == "")
    tables = [table.assign(dose=dose) for dose in doses]
    if len(left):
        positions = None
        if screen.states is not None and components.positions is not None:
            positions = state_means(components.positions, screen.states, within)
        group = _group_screen(screen, components.space, edits, block, cells, vectors, positions)
        totals = None if screen.totals is None else screen.totals[cells]
        made_from = {"cells": digest(cells, block.data, block.indices, block.indptr, totals, vectors, positions)}
        for dose, of_dose in zip(doses, tables, strict=True):
            _run_dose(screen, group, of_dose, left, dose, made_from)
    return pd.concat(tables, ignore_index=True)


def read_cells(screen: Screen, cells: NDArray[np.int64]) -> tuple[sp.csr_matrix, Edits]:
    """Read some cells, and say how copies of them are made."""
    block = take_rows(screen.query.values.matrix, cells)
    totals = None if screen.totals is None else screen.totals[cells]
    return block, edits_of(screen.model, screen.query, block, screen.kind, totals)


def _count_cells(screen: Screen, edits: Edits, kind: Kind) -> NDArray[np.int64]:
    """How many cells each perturbation changes."""
    n_cells = np.zeros(len(screen.planned), np.int64)
    runnable = np.array([at for at, one in enumerate(screen.planned) if not one.fault], np.int64)
    alive = np.flatnonzero(edits.tokens.lengths > 0)
    n_cells[runnable] = count_copies(edits, [screen.planned[at].genes for at in runnable.tolist()], kind, alive)
    return n_cells


def _run_dose(
    screen: Screen,
    group: GroupScreen,
    table: pd.DataFrame,
    left: NDArray[np.int64],
    dose: float,
    made_from: dict[str, str],
) -> None:
    """Fill the rows of a table that can be run."""
    asked = [screen.planned[at].genes for at in left.tolist()]
    name = str(table["group"].iloc[0])
    chosen, estimate = _shortlist(screen, group, asked, name, dose, made_from)
    rows = _run(screen, group, [asked[at] for at in chosen.tolist()], name, dose, made_from)
    table.loc[left, "first_order"] = estimate
    table.loc[left, "status"] = NOT_RUN
    table.loc[left[chosen], _columns(screen)] = rows
    n_left, null_mean, log10_p = (rows[:, NUMBERS.index(name)] for name in ("n_cells", "null_mean", "log10_p"))
    few = n_left < screen.min_cells
    untested = np.isnan(log10_p)
    conditions = [few, np.isnan(null_mean) | (untested & (screen.donors is None)), untested]
    table.loc[left[chosen], "status"] = np.select(conditions, [TOO_FEW, NO_NULL, FEW_DONORS], TESTED)
    table.loc[left[chosen[few]], _columns(screen)[1:]] = np.nan  # cells that lose their last gene do not count


def linear_values(block: sp.csr_matrix, base: float) -> sp.csr_matrix:
    """Undo the logarithm of values, if they are in one."""
    linear: sp.csr_matrix = block.astype(np.float64)
    linear.data = to_linear(linear.data, base)
    return linear


def columns_of(query: Query, n_genes: int) -> NDArray[np.int64]:
    """First column of each gene of the vocabulary, -1 where it has none [v]."""
    return first_columns(query.columns.vocabulary, n_genes)


def states_of(screen: Screen, within: NDArray[np.bool_]) -> tuple[NDArray[np.float32] | None, bool]:
    """Mean embedding of each state's cells [s, d], and whether each state has cells."""
    if screen.states is None or screen.embedding is None:
        return None, True
    vectors = state_means(screen.embedding, screen.states, within)
    return vectors, vectors is not None


def _group_screen(
    screen: Screen,
    space: ExpressionSpace,
    edits: Edits,
    block: sp.csr_matrix,
    cells: NDArray[np.int64],
    vectors: NDArray[np.float32] | None,
    positions: NDArray[np.float32] | None,
) -> GroupScreen:
    linear = linear_values(block, screen.query.columns.base)
    column_of = columns_of(screen.query, len(screen.model.spec.genes))
    ranks = expression_ranks(linear)
    testing = screen.testing if screen.donors is None else replace(screen.testing, donors=screen.donors[cells])
    return GroupScreen(
        model=screen.model,
        edits=edits,
        reading=replace(screen.reading, states=vectors),
        kind=screen.kind,
        ranks=ExpressionRanks(ranks.rank[column_of], ranks.expression[column_of], ranks.share[column_of]),
        baseline=Baseline(space.place(linear), column_of, positions),
        testing=testing,
        device=screen.device,
        batch_size=screen.batch_size,
    )


def _columns(screen: Screen) -> list[str]:
    states = () if screen.states is None else screen.states.names
    return [*NUMBERS, *(f"shift_{name}" for name in states)]


def _frame(screen: Screen, group: str, n_cells: NDArray[np.int64]) -> pd.DataFrame:
    """Build the table of what was asked for, without any number yet."""
    few = np.where(n_cells == 0, IN_NO_CELL, np.where(n_cells < screen.min_cells, TOO_FEW, ""))
    table = pd.DataFrame({"perturbation": [one.name for one in screen.planned], "kind": screen.kind, "dose": np.nan})
    table["group"] = group
    table[_columns(screen)] = np.nan
    table["first_order"] = np.nan
    table["status"] = [one.fault or found for one, found in zip(screen.planned, few.tolist(), strict=True)]
    table["n_cells"] = n_cells.astype(np.float64)
    return table


def _shortlist(
    screen: Screen, group: GroupScreen, asked: Perturbations, name: str, dose: float, made_from: dict[str, str]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Which perturbations are run exactly, and what the first ranking says of each."""
    everyone = np.arange(len(asked))
    n_exact = screen.n_exact or max(ALWAYS, int(np.ceil(SHARE * len(asked))))
    if screen.first is None or len(asked) <= n_exact:
        return everyone, np.full(len(asked), np.nan, np.float32)
    towards = group.testing.towards
    if screen.first == "gradient":
        n_cells = len(group.edits.tokens) * (1 if towards is None else sum(weight != 0 for weight in towards))
        with progress_bar(n_cells, unit="cell", label=f"{name}: ranking by gradient") as advance:
            estimate = group.estimate(asked, dose, advance)
    else:
        keep = _part(screen, "first", name, dose, made_from, asked)
        total = _copies_left(group, asked, keep)
        with cpu_threads(), progress_bar(total, unit="copy", label=f"{name}: ranking in bfloat16") as advance:
            estimate = group.rank_first(asked, dose, "bfloat16", keep, advance)
    strength = np.nan_to_num(np.abs(estimate) if towards is not None else estimate, nan=-np.inf)
    return np.sort(np.argsort(-strength, kind="stable")[:n_exact]), estimate


def _run(
    screen: Screen, group: GroupScreen, chosen: Perturbations, name: str, dose: float, made_from: dict[str, str]
) -> NDArray[np.float32]:
    """Run perturbations and what they are compared with; rows are kept on disk on the way, if asked for."""
    drawn = group.draw(screen.n_null, set(map(len, chosen)), screen.min_cells)
    of_null = _part(screen, "null", name, dose, made_from, drawn)
    of_screen = _part(screen, "screen", name, dose, made_from, chosen)
    total = _copies_left(group, drawn, of_null) + _copies_left(group, chosen, of_screen)
    label = f"{name}: {len(chosen):,} perturbations" + (f" at dose {dose:g}" if dose != 1 else "")
    say(f"{label} of {len(group.edits.tokens):,} cells, {total:,} edited copies")
    with cpu_threads(), progress_bar(total, unit="copy", label=label) as advance:
        null = group.compare_with(drawn, dose, of_null, advance)
        return group.test(chosen, dose, null, of_screen, advance)


def _part(
    screen: Screen, what: str, name: str, dose: float, made_from: dict[str, str], perturbations: Perturbations
) -> Partial | None:
    """Where rows of some perturbations are kept, if they are."""
    if screen.kept is None:
        return None
    made_from = made_from | {"group": name, "dose": str(dose), "perturbations": digest(*perturbations)}
    return screen.kept.part(what, made_from, len(perturbations))


def _copies_left(group: GroupScreen, perturbations: Perturbations, keep: Partial | None) -> int:
    """How many copies of cells are still to be run."""
    left = [genes for at, genes in enumerate(perturbations) if keep is None or not keep.done[at]]
    return int(count_copies(group.edits, left, group.kind).sum())
