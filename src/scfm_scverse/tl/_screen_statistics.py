"""The tables of Geneformer's statistics, made of shifts of a user's cells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import progress_bar, say
from ..genes import load_gene_table
from ..inference.device import cpu_threads
from ..perturbation import (
    Edits,
    Reading,
    aggregate_data,
    aggregate_gene_shifts,
    copies_of,
    goal_state_shift,
    mixture_model,
    shift_tables,
    stream_shifts,
    vs_null,
)
from ..perturbation.screen import run_screen
from ._screen_run import Screen, read_cells, states_of

if TYPE_CHECKING:
    from ..models import CellModel
    from ._screen_plan import Planned

Statistics = Literal[
    "matched", "goal_state_shift", "mixture_model", "aggregate_data", "aggregate_gene_shifts", "vs_null"
]
READ = {
    "goal_state_shift": ("state_key", "goal"),
    "vs_null": ("state_key", "start", "alternative"),
}
NOT_READ = ("goal", "alternative", "donor_key", "screen", "resume")  # by every table
MAY_BE_READ = {"goal_state_shift": ("start", "alternative")}


def check_statistics(statistics: str, model: CellModel, given: dict[str, Any]) -> None:
    """Stop where a table needs an argument that is not ``given``, or is given what it would not read."""
    if statistics not in get_args(Statistics):
        msg = f"Found statistics={statistics!r}; expected one of {', '.join(map(repr, get_args(Statistics)))}."
        raise InputError(msg)
    if statistics == "matched":
        return
    needed = READ.get(statistics, ())
    missing = [name for name in needed if given[name] is None]
    if missing:
        msg = f"Found statistics={statistics!r} without {missing[0]}=; expected {', '.join(needed)}."
        raise InputError(msg)
    usable = {*needed, *MAY_BE_READ.get(statistics, ("state_key", "start"))}
    useless = [name for name in NOT_READ if given[name] is not None and name not in usable]
    if useless:
        msg = f"Found {useless[0]}= with statistics={statistics!r}, which would not be read; expected it left out."
        raise InputError(msg)
    if statistics == "aggregate_gene_shifts" and "gene" not in model.spec.outputs:
        msg = f"Found statistics={statistics!r}; {model.spec.name} has no vectors of genes in a cell to compare."
        raise InputError(msg)


def statistics_of_group(
    screen: Screen,
    statistics: Statistics,
    name: str,
    cells: NDArray[np.int64],
    null_cells: NDArray[np.int64],
    within: NDArray[np.bool_],
    doses: list[float],
) -> pd.DataFrame:
    """Table of a group [n], of one dose below that of the other."""
    vectors, has_states = states_of(screen, within)
    if not has_states or (statistics == "vs_null" and not len(null_cells)):
        say(f"{name}: no cells of a state")
        return pd.DataFrame()
    tables = []
    for dose in doses:
        table = _table(screen, statistics, cells, null_cells, vectors, dose)
        tables.append(table.assign(group=name, dose=dose) if len(table) else table)
    return pd.concat(tables, ignore_index=True)


def _table(
    screen: Screen,
    statistics: Statistics,
    cells: NDArray[np.int64],
    null_cells: NDArray[np.int64],
    vectors: NDArray[np.float32] | None,
    dose: float,
) -> pd.DataFrame:
    """Perturb cells of a group [n] and hand their shifts to one of the tables; an empty one if nothing can be run."""
    runs = {at: one for at, one in enumerate(screen.planned) if not one.fault}
    names = _names(screen.model, screen.planned)
    reading = replace(screen.reading, states=vectors, genes=statistics == "aggregate_gene_shifts")
    if statistics == "aggregate_gene_shifts":
        tables = [
            aggregate_gene_shifts(of_cells, of_genes, names=names)
            for of_cells, of_genes in _with_genes(screen, cells, runs, reading, dose)
        ]
        return _one_table(tables)
    shifts = _of_cells(screen, cells, runs, reading, dose)
    if shifts.empty:
        return shifts
    if statistics == "vs_null":
        return vs_null(shifts, _of_cells(screen, null_cells, runs, reading, dose), names=names)
    if statistics == "mixture_model":
        return mixture_model(shifts, names=names)
    if statistics == "aggregate_data":
        return aggregate_data(shifts, names=names)
    names_of_states = () if screen.states is None else screen.states.names
    others = [name for name in names_of_states if name not in ("goal", "start")]
    return goal_state_shift(shifts, "goal", others, names=names)


def _of_cells(
    screen: Screen, cells: NDArray[np.int64], runs: dict[int, Planned], reading: Reading, dose: float
) -> pd.DataFrame:
    """Shift of every cell under every perturbation: ``perturbed``, ``shift`` (a cosine), one column a state."""
    _, edits = read_cells(screen, cells)
    keys, asked = _in_enough_cells(screen, edits, runs)
    total = sum(len(copies_of(edits.held, genes, screen.kind)) for genes in asked)
    frames = [pd.DataFrame({"perturbed": np.zeros(0, np.int64), "shift": np.zeros(0)})]
    with cpu_threads(), progress_bar(total, unit="copy", label=f"{len(asked):,} perturbations") as advance:
        parts = run_screen(
            screen.model,
            edits,
            asked,
            screen.kind,
            dose,
            reading,
            device=screen.device,
            batch_size=screen.batch_size,
            advance=advance,
        )
        for part in parts:
            told = {"perturbed": keys[part.perturbation], "shift": 1.0 - part.effect.astype(np.float64)}
            names = () if screen.states is None else screen.states.names
            told |= dict(zip(names, part.to_states.T.astype(np.float64), strict=True))
            frames.append(pd.DataFrame(told).iloc[np.lexsort((part.copies.cell, part.perturbation))])
    return pd.concat(frames[1:] or frames, ignore_index=True)


def _with_genes(
    screen: Screen, cells: NDArray[np.int64], runs: dict[int, Planned], reading: Reading, dose: float
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    """Shifts of cells and of the genes in them, one perturbation at a time: there are thousands of genes in a cell."""
    _, edits = read_cells(screen, cells)
    keys, asked = _in_enough_cells(screen, edits, runs)
    alive = np.flatnonzero(edits.tokens.lengths > 0)
    with cpu_threads(), progress_bar(len(asked), unit="perturbation", label="shifts of genes") as advance:
        for key, genes in zip(keys.tolist(), asked, strict=True):
            copies = copies_of(edits.held, genes, screen.kind, dose=dose, cells=alive)
            stream = stream_shifts(
                screen.model, edits, copies, reading, device=screen.device, batch_size=screen.batch_size
            )
            of_cells, of_genes = shift_tables(copies, stream)
            yield of_cells.assign(perturbed=key), of_genes.assign(perturbed=key)
            advance(1)


def _in_enough_cells(
    screen: Screen, edits: Edits, runs: dict[int, Planned]
) -> tuple[NDArray[np.int64], list[NDArray[np.int32]]]:
    """Perturbations that enough cells show, and what each is filed under."""
    kind = "delete" if screen.every else screen.kind
    kept = {at: one for at, one in runs.items() if len(copies_of(edits.held, one.genes, kind)) >= screen.min_cells}
    left = len(screen.planned) - len(kept)
    if left and not screen.every:
        say(f"{left:,} of {len(screen.planned):,} perturbations are left out: no genes of the model in enough cells")
    n_genes = len(screen.model.spec.genes)
    keys = [int(one.genes[0]) if len(one.genes) == 1 else n_genes + at for at, one in kept.items()]
    return np.array(keys, np.int64), [one.genes for one in kept.values()]


def _names(model: CellModel, planned: list[Planned]) -> pd.DataFrame:
    """Names of the vocabulary, and behind it of genes that are perturbed together."""
    table, rows = load_gene_table(), np.asarray(model.gene_rows)
    own = np.asarray(model.spec.genes)
    symbol, ensembl = (np.where(rows >= 0, np.asarray(of)[rows], own) for of in (table.symbol, table.ensembl))
    together = {len(own) + at: one for at, one in enumerate(planned) if len(one.genes) > 1 and not one.fault}
    ids = ["+".join(ensembl[one.genes].tolist()) for one in together.values()]
    return pd.DataFrame(
        {"Gene_name": [*symbol, *(one.name for one in together.values())], "Ensembl_ID": [*ensembl, *ids]},
        index=[*range(len(own)), *together],
    )


def _one_table(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """Put tables of single perturbations together as the original does: cells first, then from the lowest mean up."""
    if not tables:
        return pd.DataFrame()
    table = pd.concat(tables, ignore_index=True)
    of_genes = table["Affected"] != "cell_emb"
    order = np.lexsort((table["Cosine_sim_mean"].to_numpy(), of_genes.to_numpy()))
    table = table.iloc[order].reset_index(drop=True)
    # Files hold text or numbers in a column, not both.
    texts = ["Affected", "Affected_gene_name", "Affected_Ensembl_ID"]
    table[texts] = table[texts].fillna("").astype(str)
    return table
