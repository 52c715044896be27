"""``tl.rank_perturbations``: many perturbations of the same cells, tested and ranked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._query import AnyModel, Query, chosen_model, fingerprint, make_actual, read_query, read_totals, receiver
from .._record import ROOT, record
from ..io.blocks import spread_rows, take_rows
from ..perturbation import Kind
from ..perturbation.expression_space import ExpressionSpace
from ..perturbation.significance import false_discovery
from ..perturbation.summary import Test, Testing
from ._perturbation import reading_of, unperturbed
from ._screen_arguments import check_arguments, check_kept, read_donors, read_doses
from ._screen_cells import States, draw_groups, in_state, read_states, screened_cells
from ._screen_kept import Kept
from ._screen_plan import plan_all, plan_named
from ._screen_run import NOT_RUN, TESTED, Components, Screen, columns_of, linear_values, run_group
from ._screen_statistics import Statistics, statistics_of_group

if TYPE_CHECKING:
    from anndata import AnnData

VERB = "rank_perturbations"
FITTED = 2000  # cells that principal components are found in
FREE = {"key_added", "device", "batch_size", "resume"}  # arguments that no number depends on


def rank_perturbations(
    adata: AnnData,
    genes: Iterable[str | Sequence[str]] | None = None,
    *,
    kind: Kind = "delete",
    dose: float | Sequence[float] = 1.0,
    combinations: int = 1,
    groupby: str | None = None,
    state_key: str | None = None,
    start: str | None = None,
    goal: str | None = None,
    alternative: str | Sequence[str] | None = None,
    perturbation_key: str | None = None,
    control: str | None = "control",
    donor_key: str | None = None,
    statistics: Statistics = "matched",
    test: Test = "genes",
    n_null: int = 100,
    n_permutations: int = 1000,
    min_cells: int = 10,
    max_cells: int | None = 200,
    screen: Literal["gradient", "bfloat16"] | None = None,
    n_exact: int | None = None,
    model: AnyModel = "scfm-mini",
    key_added: str = "scfm",
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    output_layer: int | None = None,
    pooling: str | None = None,
    total_key: str | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    random_state: int = 0,
    resume: str | Path | None = None,
) -> pd.DataFrame:
    """Perturb many genes, one perturbation at a time, and rank what a model says of it.

    Every perturbation is run in the cells that hold its genes (overexpression in all), and compared with perturbations
    of other genes of like rank and expression in the same cells, since the loss of a highly expressed gene moves a cell
    whatever the gene is. Beside each effect stands that of a simple model: how far the edited value alone moves the
    cell in principal components of expression.

    Parameters
    ----------
    adata
        Cells x genes; only ``uns`` is written to, and the embedding if there is a goal.
    genes
        Perturbations: names, or names joined by "+" or in a tuple that are perturbed together. ``None``: every gene
        that the model knows and that ``min_cells`` cells of the group express.
    kind, dose
        As in :func:`perturb`; several doses make a graded screen.
    combinations
        How many of ``genes`` are perturbed together: 2 runs all pairs of them.
    groupby
        Column of ``adata.obs``, such as the cell type: each group is screened by itself.
    state_key, start, goal, alternative
        Column of ``adata.obs`` with states, and values in it: cells in ``start`` are perturbed (all cells without it)
        and are tested for the shift from there towards ``goal``; that towards ``alternative``, one or several, is told.
        States are those of the group.
    perturbation_key, control
        Column of ``adata.obs`` with measured perturbations in the names of pertpy or GEARS. Only its ``control`` cells
        are perturbed, and what is perturbed are its perturbations unless ``genes`` are given.
    donor_key
        Column of ``adata.obs``; an effect must then repeat over donors (three at least).
    statistics
        ``"matched"`` is the table below. The others are tables of Geneformer's statistics, with their columns, of all
        perturbations in enough cells: ``"goal_state_shift"`` (needs ``goal``; against all perturbed genes),
        ``"vs_null"`` (cells in ``start`` against those in ``alternative``), ``"mixture_model"`` (which genes have an
        impact), ``"aggregate_data"`` (every cell), ``"aggregate_gene_shifts"`` (which other genes shift). A table of
        each group and dose, one below the other. ``test``, ``n_null`` and ``n_permutations`` say nothing there.
    test
        ``"genes"``: is the mean unusual among those of the matched genes (t test of one number against them, effects
        by their logarithms)? With donors the difference must also repeat over them (t test); the larger p-value counts.
        ``"ranksum"``, as in Geneformer, and ``"permutation"`` of the mean: cells of the perturbation against cells of
        the matched ones, or with donors t test and flips of sign of the differences.
    n_null
        Perturbations that are drawn to compare with, among all genes that ``min_cells`` cells hold; each is compared
        with the 20 of as many genes that are most like it. What is drawn depends on the cells and the seed alone, so
        that a row, but for ``fdr``, does not depend on what else is asked for.
    n_permutations
        Draws of a permutation test.
    min_cells
        Cells that a test needs.
    max_cells
        Cells of a group that are drawn; ``None`` takes all.
    screen
        ``"gradient"`` ranks by a first-order estimate of deletion, ``"bfloat16"`` by runs of half precision; only the
        first ``n_exact`` are then run in float32 and tested. Estimates of genes that are deleted together add up.
    n_exact
        How many; ``None`` takes 100, or 6 % of the perturbations if that is more.
    model
        As in :func:`embed`.
    key_added
        Name of the result, ``k`` below.
    layer, use_raw, normalized, gene_symbols, organism, output_layer, pooling, total_key, batch_size, device
        As in :func:`embed`.
    random_state
        Seed of all draws.
    resume
        Folder in which finished work is kept until the table is written; it must be empty or absent, or hold what an
        earlier call left there. The same call on the same cells goes on where that one was cut short.

    Returns
    -------
    A table, smallest p-value first in each group and dose, also in
    ``adata.uns["scfm"]["rank_perturbations"][k]["table"]`` (see :func:`scfm_scverse.get.perturbations`), with one row
    for each perturbation, dose and group:

    ``perturbation``, ``kind``, ``dose``, ``group``
        What was done to which cells.
    ``status``
        ``"tested"``, or why not: ``"not in the data"``, ``"not known to the model"``, ``"expressed in no cell"``,
        ``"too few cells"``, ``"given twice"``, ``"no perturbation"``, ``"no cells of a state"``, ``"not run"``
        (screened out). Numbers are NaN then. ``"no matched genes"`` and ``"too few donors"`` lack a p-value only.
    ``n_cells``, ``n_donors``, ``expression``
        Cells that were perturbed, their donors, and mean log1p of counts per 10,000 of the genes in them.
    ``effect``, ``effect_sd``
        Mean and standard deviation over cells of 1 - cosine to the cell as it is.
    ``shift_goal``, ``shift_start``, ``shift_<alternative>``
        Mean change of the cosine to the mean embedding of a state: above 0 is towards it.
    ``score``
        What is tested: with a goal the shift towards it and away from ``start``, ``shift_goal - shift_start``
        (``shift_goal`` without ``start``), two-sided; else ``effect`` (larger than others). A shift to the goal alone
        is mostly one to the average cell, whatever the goal. ``score_sd`` is its standard deviation over cells.
    ``null_mean``, ``null_sd``
        Mean and standard deviation of the score over perturbations of genes that are expressed alike.
    ``z``
        ``(score - null_mean) / null_sd``: how unusual the gene is among those.
    ``p_value``, ``fdr``
        Test against the genes that are expressed alike; rates of Benjamini and Hochberg over the whole table, what was
        screened out included. The tests over cells tell whether a difference to the average of those genes repeats
        from cell to cell, not whether the gene stands out among them: with scfm-mini and 200 resting monocytes or T
        cells, 38 to 66 % of all expressed genes have a rank-sum rate below 0.05, even for shifts towards a random half
        of the same cells; with ``test="genes"`` 0 to 4 % have.
    ``baseline_effect``, ``baseline_shift``
        The same as effect and, with a goal, as score, in principal components and with nothing but the edited values.
    ``first_order``
        What the first ranking estimated the score at.

    Raises
    ------
    InputError
        Nothing can be tested, a state or control that no cell is in, goal and start the same, arguments that contradict
        each other.
    MissingKeyError
        A column is not in ``adata.obs``.
    FileError
        The folder ``resume`` holds what no screen wrote.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> table = scfm.tl.rank_perturbations(adata, ["CD74", "LYZ", "NKG7"], max_cells=50, n_null=30)
    >>> table["status"].tolist()
    ['tested', 'tested', 'tested']

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624. Benjamini and Hochberg (1995), J. R. Stat. Soc. B 57, 289-300.
    """
    started = perf_counter()
    arguments = {name: value for name, value in locals().items() if name not in {"adata", "genes", "model", "started"}}
    doses = read_doses(kind, dose)
    cell_model = chosen_model(model)
    check_arguments(arguments, cell_model, all_genes=genes is None)
    check_kept(receiver(adata, key_added, copy=False), VERB, key_added, cell_model)
    reading = reading_of(cell_model, output_layer, pooling)
    others = None if statistics == "vs_null" else alternative  # cells of the null there, and no state to move to
    states = read_states(adata, state_key, start, goal, others)
    allowed, named = screened_cells(adata, state_key, start, perturbation_key, control)
    groups = draw_groups(adata, groupby, allowed, max_cells, random_state)
    null_groups = {}
    if statistics == "vs_null":
        null_groups = draw_groups(
            adata, groupby, in_state(adata, str(state_key), str(alternative)), max_cells, random_state
        )
    donors = read_donors(adata, donor_key)
    source = {"layer": layer, "use_raw": use_raw, "normalized": normalized, "gene_symbols": gene_symbols}
    query = read_query(adata, cell_model, **source, organism=organism)  # type: ignore[arg-type]
    source |= {"organism": organism, "total_key": total_key}
    totals = read_totals(adata, cell_model, total_key)
    asked = named if genes is None else [genes] if isinstance(genes, str) else genes
    column_of = columns_of(query, len(cell_model.spec.genes))
    planned = plan_all(query, column_of) if asked is None else plan_named(asked, combinations, query)
    make_actual(adata)
    made_from = {"model": cell_model.spec.id} | {name: str(arguments[name]) for name in sorted(set(arguments) - FREE)}
    kept = None if resume is None else Kept(resume, made_from | {"data": fingerprint(adata, query)})
    embedding = None if states is None else unperturbed(adata, cell_model, key_added, reading, device, source)[1]
    work = Screen(
        query=query,
        model=cell_model,
        totals=totals,
        planned=planned,
        every=asked is None,
        kind=kind,
        states=states,
        embedding=embedding,
        reading=reading,
        testing=Testing(None if states is None else states.towards, test, n_permutations, None, random_state),
        donors=donors,
        n_null=n_null,
        min_cells=min_cells,
        first=screen,
        n_exact=n_exact,
        device=device,
        batch_size=batch_size,
        kept=kept,
    )
    components = _components(adata, query, states, random_state) if statistics == "matched" else None
    table = _screen_groups(work, components, adata, groupby, groups, null_groups, doses, statistics)
    record(adata, VERB, key_added, {"model": cell_model.spec.name, "model_id": cell_model.spec.id} | arguments)
    adata.uns[ROOT][VERB][key_added]["table"] = table
    if kept is not None:
        kept.remove()
    say(_told(table, perf_counter() - started))
    return table.copy()


def _screen_groups(
    screen: Screen,
    components: Components | None,
    adata: AnnData,
    groupby: str | None,
    groups: dict[str, NDArray[np.int64]],
    null_groups: dict[str, NDArray[np.int64]],
    doses: list[float],
    statistics: Statistics,
) -> pd.DataFrame:
    """Screen group after group, and put their tables together; Geneformer's tables read no components."""
    tables = []
    for name, cells in groups.items():
        within = np.ones(adata.n_obs, bool) if groupby is None else np.asarray(adata.obs[groupby].astype(str) == name)
        if components is not None:
            tables.append(run_group(screen, components, name, cells, within, doses))
        else:
            null_cells = null_groups.get(name, cells[:0])
            tables.append(statistics_of_group(screen, statistics, name, cells, null_cells, within, doses))
    table = pd.concat(tables, ignore_index=True)
    if components is not None:
        return _finish(table, screen.min_cells)
    if table.empty:
        msg = f"Found no perturbation in min_cells={screen.min_cells} cells; expected genes that so many cells express."
        raise InputError(msg)
    return table


def _told(table: pd.DataFrame, seconds: float) -> str:
    if "status" not in table:
        return f"{len(table):,} rows in {seconds:.0f} s"
    n_tested = int((table["status"] == TESTED).sum())
    n_found = int((table["fdr"] < 0.05).sum())
    return f"{n_tested:,} of {len(table):,} perturbations tested in {seconds:.0f} s, {n_found:,} with FDR < 0.05"


def _components(adata: AnnData, query: Query, states: States | None, random_state: int) -> Components:
    """Principal components of cells from all over the data, and where the cells of any state lie."""
    matrix, base = query.values.matrix, query.columns.base
    some = linear_values(take_rows(matrix, spread_rows(matrix, FITTED)), base)
    space = ExpressionSpace.fit(some, random_state=random_state)
    if states is None:
        return Components(space, None)
    positions = np.full((adata.n_obs, space.loadings.shape[1]), np.nan)
    cells = np.flatnonzero(states.members.any(axis=0))
    for start in range(0, len(cells), FITTED):
        rows = cells[start : start + FITTED]
        positions[rows] = space.project(linear_values(take_rows(matrix, rows), base))
    return Components(space, positions)


def _finish(table: pd.DataFrame, min_cells: int) -> pd.DataFrame:
    """Turn logarithms into p-values and false discovery rates; the strongest come first in each group and dose."""
    if not (table["status"] == TESTED).any():
        why = ", ".join(f"{reason}: {n}" for reason, n in table["status"].value_counts().items())
        msg = (
            f"Found nothing to test among {len(table)} perturbations ({why or 'no gene in enough cells'}); expected "
            f"genes of the model that min_cells={min_cells} cells of a group express."
        )
        raise InputError(msg)
    p = 10.0 ** table["log10_p"].to_numpy(np.float64)
    n_tests = int(table["status"].isin([TESTED, NOT_RUN]).sum())
    at = table.columns.tolist().index("log10_p")
    table = table.drop(columns="log10_p")
    table.insert(at, "p_value", p)
    table.insert(at + 1, "fdr", false_discovery(p, n_tests))
    spread = table["null_sd"].where(table["null_sd"] > 0)
    table.insert(at, "z", (table["score"] - table["null_mean"]) / spread)
    for name in ("n_cells", "n_donors"):
        table[name] = table[name].fillna(0).astype(np.int64)
    far = (table["score"] - table["null_mean"]).abs()
    order = pd.DataFrame({"group": pd.factorize(table["group"])[0], "dose": table["dose"], "p": p, "far": -far})
    return table.loc[order.sort_values(["group", "dose", "p", "far"], kind="stable").index].reset_index(drop=True)
