"""The screen of one group of cells, dose by dose: from cells to rows of the table."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._logging import progress_bar, say
from ..inference import Partial
from ..inference.device import cpu_threads
from ..io.blocks import take_rows
from ..models import CellModel
from ..perturbation import Kind, Reading
from ..perturbation.expression_space import ExpressionSpace
from ..perturbation.group_screen import GroupScreen, Perturbations
from ..perturbation.matching import ExpressionRanks, expression_ranks
from ..perturbation.screen import count_copies
from ..perturbation.summary import NUMBERS, Baseline, Testing
from ._perturbation import edits_of
from ._query import Query
from ._screen_cells import States, state_means
from ._screen_plan import Planned

TESTED, TOO_FEW, IN_NO_CELL, NO_GOAL, NOT_RUN = (
    "tested",
    "too few cells",
    "expressed in no cell",
    "no cells of a state",
    "not run",
)
ALWAYS, SHARE = 100, 0.06  # of a screen that are run exactly after a first ranking: so many, and this share at least


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
    states, embedding, positions
        States of cells if there is a goal; embedding [n, d] and principal components [n, c] of their cells.
    space
        Principal components of expression.
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
    resume, made_from
        Where finished work is kept, and what it depends on.
    kept
        What was kept there so far.
    """

    query: Query
    model: CellModel
    totals: NDArray[np.float64] | None
    planned: list[Planned]
    every: bool
    kind: Kind
    states: States | None
    embedding: NDArray[np.float32] | None
    positions: NDArray[np.float64] | None
    space: ExpressionSpace
    reading: Reading
    testing: Testing
    donors: NDArray[np.int64] | None
    n_null: int
    min_cells: int
    first: Literal["gradient", "bfloat16"] | None
    n_exact: int | None
    device: str
    batch_size: int | None
    resume: str | Path | None
    made_from: dict[str, Any]
    kept: list[Partial] = field(default_factory=list)


def run_group(
    screen: Screen, name: str, cells: NDArray[np.int64], within: NDArray[np.bool_], doses: list[float]
) -> pd.DataFrame:
    """Screen some cells of a group [n]: one row a perturbation and dose."""
    edits = edits_of(
        screen.model,
        screen.query,
        block := take_rows(screen.query.values.matrix, cells),
        screen.kind,
        None if screen.totals is None else screen.totals[cells],
    )
    n_cells = np.zeros(len(screen.planned), np.int64)
    runnable = np.array([at for at, one in enumerate(screen.planned) if not one.fault], np.int64)
    n_cells[runnable] = count_copies(edits, [screen.planned[at].genes for at in runnable.tolist()], screen.kind)
    vectors, positions, has_states = _states_of(screen, within)
    enough = runnable[n_cells[runnable] >= screen.min_cells]
    tables = []
    for dose in doses:
        table = _frame(screen, name, dose, n_cells)
        if has_states and len(enough):
            group = _group_screen(screen, edits, block, cells, vectors, positions)
            asked = [screen.planned[at].genes for at in enough.tolist()]
            chosen, estimate = _shortlist(screen, group, asked, dose)
            table.loc[enough, "first_order"] = estimate
            table.loc[enough, "status"] = NOT_RUN
            table.loc[enough[chosen], "status"] = TESTED
            rows = _run(screen, group, name, [asked[at] for at in chosen.tolist()], dose)
            table.loc[enough[chosen], _columns(screen)] = rows
        elif not has_states:
            table.loc[table["status"] == "", "status"] = NO_GOAL
        table = table[n_cells >= screen.min_cells] if screen.every else table
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def linear_values(block: sp.csr_matrix, base: float) -> sp.csr_matrix:
    """Undo the logarithm of values, if they are in one."""
    linear: sp.csr_matrix = block.astype(np.float64)
    if base:
        linear.data = np.expm1(linear.data * np.log(base))
    return linear


def columns_of(query: Query, n_genes: int) -> NDArray[np.int64]:
    """First column of each gene of the vocabulary, -1 where it has none [v]."""
    column = np.full(n_genes, -1, np.int64)
    known = np.flatnonzero(query.columns.vocabulary >= 0)[::-1]
    column[query.columns.vocabulary[known]] = known
    return column


def _states_of(
    screen: Screen, within: NDArray[np.bool_]
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32] | None, bool]:
    """Mean of each state's cells in the embedding and in principal components, and whether each state has cells."""
    if screen.states is None or screen.embedding is None or screen.positions is None:
        return None, None, True
    vectors = state_means(screen.embedding, screen.states, within)
    return vectors, state_means(screen.positions, screen.states, within), vectors is not None


def _group_screen(
    screen: Screen,
    edits: Any,
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
        baseline=Baseline(screen.space, linear, column_of, positions),
        testing=testing,
        device=screen.device,
        batch_size=screen.batch_size,
    )


def _columns(screen: Screen) -> list[str]:
    states = () if screen.states is None else screen.states.names
    return [*NUMBERS, *(f"shift_{name}" for name in states)]


def _frame(screen: Screen, group: str, dose: float, n_cells: NDArray[np.int64]) -> pd.DataFrame:
    """Build the table of what was asked for, without any number yet."""
    faults = [one.fault for one in screen.planned]
    few = np.where(n_cells == 0, IN_NO_CELL, np.where(n_cells < screen.min_cells, TOO_FEW, ""))
    table = pd.DataFrame({"perturbation": [one.name for one in screen.planned], "kind": screen.kind, "dose": dose})
    table["group"] = group
    table[_columns(screen)] = np.nan
    table["first_order"] = np.nan
    table["status"] = [fault or found for fault, found in zip(faults, few.tolist(), strict=True)]
    table["n_cells"] = n_cells.astype(np.float64)
    return table


def _shortlist(
    screen: Screen, group: GroupScreen, asked: Perturbations, dose: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Which perturbations are run exactly, and what the first ranking says of each."""
    everyone = np.arange(len(asked))
    n_exact = screen.n_exact or max(ALWAYS, int(np.ceil(SHARE * len(asked))))
    if screen.first is None or len(asked) <= n_exact:
        return everyone, np.full(len(asked), np.nan)
    goal = group.testing.goal
    if screen.first == "gradient":
        from ..perturbation.first_order import first_order

        n_cells = len(group.edits.tokens)
        with cpu_threads(), progress_bar(n_cells, unit="cell", label="ranking by gradient") as advance:
            found = first_order(
                group.model, group.edits.tokens, group.reading, goal=goal, device=group.device, advance=advance
            )
        estimate = np.array([found.mean[0][genes].sum() for genes in asked]) * dose
    else:
        total = int(count_copies(group.edits, asked, group.kind).sum())
        with cpu_threads(), progress_bar(total, unit="copy", label="ranking in bfloat16") as advance:
            estimate = group.rank_first(asked, dose, "bfloat16", advance)
    strength = np.nan_to_num(np.abs(estimate) if goal is not None else estimate, nan=-np.inf)
    return np.sort(np.argsort(-strength, kind="stable")[:n_exact]), estimate


def _run(screen: Screen, group: GroupScreen, name: str, chosen: Perturbations, dose: float) -> NDArray[np.float32]:
    """Run perturbations and what they are compared with; rows are kept on disk on the way, if asked for."""
    drawn = group.draw(screen.n_null, chosen, screen.min_cells)
    total = int(count_copies(group.edits, drawn + chosen, group.kind).sum())
    made_from = screen.made_from | {"group": name, "dose": dose, "genes": _digest(chosen), "null": _digest(drawn)}
    place = hashlib.sha256(f"{name}\n{dose}".encode()).hexdigest()[:12]
    of_null, of_screen = (
        None if screen.resume is None else Partial(Path(screen.resume) / f"{place}-{what}", made_from, len(some))
        for what, some in (("null", drawn), ("screen", chosen))
    )
    screen.kept.extend(one for one in (of_null, of_screen) if one is not None)
    label = f"{name}: {len(chosen):,} perturbations" + (f" at dose {dose:g}" if dose != 1 else "")
    say(f"{label} of {len(group.edits.tokens):,} cells, {total:,} edited copies")
    with cpu_threads(), progress_bar(total, unit="copy", label=label) as advance:
        null = group.compare_with(drawn, dose, of_null, advance)
        return group.test(chosen, dose, null, of_screen, advance)


def _digest(perturbations: Perturbations) -> str:
    return hashlib.sha256("|".join(",".join(map(str, genes.tolist())) for genes in perturbations).encode()).hexdigest()
