"""From shifts of single cells to one row a gene: the tables of Geneformer's statistics.

Shifts come as a frame with one row a cell and perturbation: ``perturbed``, the position in the vocabulary of the
perturbed gene or a tuple of several, and the numbers, in the column ``shift`` or in one column a state. Shifts of genes
have a column ``affected`` too. Names come as a frame indexed by position in the vocabulary, with the columns
``Gene_name`` and ``Ensembl_ID``. The columns of the tables are called as in the original (Theodoris et al., Nature
2023, doi:10.1038/s41586-023-06139-9). Positive shifts to a state are towards it; a cosine of 1 is no effect.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import false_discovery_control, norm

from .._errors import InputError
from .copies import Mode

SIGNIFICANT = 0.05
SAMPLE, SEED = 100_000, 42  # of the original, for the values that a gene is compared with
CELL = "cell_emb"  # what the original calls the cell itself among all that a perturbation affects


def goal_state_shift(
    shifts: pd.DataFrame, goal: str, alternatives: Sequence[str] = (), *, names: pd.DataFrame, mode: Mode = "default"
) -> pd.DataFrame:
    """Test which genes move cells towards a goal state more than genes in general do.

    The shifts of each gene are compared with those of all genes by the rank-sum test, two-sided; false discovery rates
    are those of Benjamini and Hochberg over the genes. A shift that is NaN is left out.

    Parameters
    ----------
    shifts
        Columns ``perturbed`` and one for each state: change of the cosine to that state.
    goal, alternatives
        Columns of the state that cells should come to, and of others to watch.
    names
        Names of the vocabulary.
    mode
        ``"original"`` compares with a sample of 100,000 values where there are more.

    Returns
    -------
    One row a gene, the significant ones first, then by shift to the goal.

    Examples
    --------
    >>> import pandas as pd
    >>> from scfm_scverse.perturbation import goal_state_shift
    >>> names = pd.DataFrame({"Gene_name": ["A", "B"], "Ensembl_ID": ["ENSG1", "ENSG2"]})
    >>> shifts = pd.DataFrame({"perturbed": [0, 0, 1, 1], "healthy": [0.2, 0.3, 0.0, -0.1]})
    >>> goal_state_shift(shifts, "healthy", names=names)["Gene_name"].tolist()
    ['A', 'B']
    """
    shifts = shifts.dropna(subset=[goal, *alternatives]).sort_values("perturbed", kind="stable")
    mean = shifts.groupby("perturbed")[[goal, *alternatives]].mean()
    p = {state: _against_all(shifts["perturbed"], shifts[state], mode) for state in (goal, *alternatives)}
    table = _named(mean.index, names)
    table["Shift_to_goal_end"] = mean[goal].to_numpy()
    for state in alternatives:
        table[f"Shift_to_alt_end_{state}"] = mean[state].to_numpy()
    table["Goal_end_vs_random_pval"] = p[goal]
    for state in alternatives:
        table[f"Alt_end_vs_random_pval_{state}"] = p[state]
    table["Goal_end_FDR"] = false_discovery_control(p[goal])
    for state in alternatives:
        table[f"Alt_end_FDR_{state}"] = false_discovery_control(p[state])
    table["N_Detections"] = shifts.groupby("perturbed").size().to_numpy()
    table["Sig"] = (table["Goal_end_FDR"] < SIGNIFICANT).astype(int)
    return _sorted(table, ["Sig", "Shift_to_goal_end", "Goal_end_FDR"], [False, False, True])


def mean_goal_state_shift(shifts: pd.DataFrame, goal: str, alternatives: Sequence[str] = ()) -> pd.DataFrame:
    """Mean shift under one perturbation to the goal state and to others: one row, no test."""
    columns = {"Shift_to_goal_end": goal} | {f"Shift_to_alt_end_{state}": state for state in alternatives}
    return pd.DataFrame({name: [shifts[state].mean()] for name, state in columns.items()})


def vs_null(test: pd.DataFrame, null: pd.DataFrame, *, names: pd.DataFrame) -> pd.DataFrame:
    """Compare the shifts of each gene with those of the same gene in other cells or under another perturbation.

    Rank-sum test, two-sided, NaN left out; a gene without values on one side has a p-value of 1.

    Parameters
    ----------
    test, null
        Columns ``perturbed`` and ``shift``.
    names
        Names of the vocabulary.

    Returns
    -------
    One row a gene of the test, the significant ones first, then by difference of the means.
    """
    of_test, of_null = test.groupby("perturbed")["shift"], null.groupby("perturbed")["shift"]
    genes = of_test.mean().index
    both = pd.concat([test, null], ignore_index=True)
    rank = both.groupby("perturbed")["shift"].rank().iloc[: len(test)]
    rank_sum = rank.groupby(both["perturbed"].iloc[: len(test)]).sum().to_numpy()
    counts = (of.count().reindex(genes, fill_value=0).to_numpy() for of in (of_test, of_null))
    table = _named(genes, names)
    table["Test_avg_shift"] = of_test.mean().to_numpy()
    table["Null_avg_shift"] = of_null.mean().reindex(genes).to_numpy()
    table["Test_vs_null_avg_shift"] = table["Test_avg_shift"] - table["Null_avg_shift"]
    table["Test_vs_null_pval"] = _rank_sum_p(rank_sum, *counts)
    table["Test_vs_null_FDR"] = false_discovery_control(table["Test_vs_null_pval"])
    table["N_Detections_test"] = of_test.size().to_numpy()
    table["N_Detections_null"] = of_null.size().reindex(genes, fill_value=0).to_numpy()
    table["Sig"] = (table["Test_vs_null_FDR"] < SIGNIFICANT).astype(int)
    return _sorted(table, ["Sig", "Test_vs_null_avg_shift", "Test_vs_null_FDR"], [False, False, True])


def mixture_model(
    shifts: pd.DataFrame,
    *,
    names: pd.DataFrame,
    by: Literal["perturbed", "affected"] = "perturbed",
    mode: Mode = "default",
) -> pd.DataFrame:
    """Divide genes into those with and those without impact by a mixture of two normal distributions of their means.

    Parameters
    ----------
    shifts
        Columns ``shift``, the cosine between the perturbed and the original cell, and the one that ``by`` names.
    names
        Names of the vocabulary.
    by
        What is divided: perturbed genes, or the genes that one perturbation affected.
    mode
        The component of the lower cosines is the impact. ``"original"`` takes the first, whichever that is.

    Returns
    -------
    One row a gene: its mean, whether that lies in the impact component, the percentage of its single values that do,
    and their number; the genes with impact first, then by mean.

    Raises
    ------
    InputError
        Less than two genes, or genes that all have the same mean.
    """
    from sklearn.mixture import GaussianMixture

    shifts = shifts.dropna(subset=["shift"])
    mean = shifts.groupby(by)["shift"].mean()
    if mean.nunique() < 2:
        msg = f"Found {mean.nunique()} different mean shifts of {len(mean)} genes; expected two or more to divide."
        raise InputError(msg)
    mixture = GaussianMixture(2, random_state=0).fit(mean.to_numpy()[:, None])
    centers = mixture.means_[:, 0]
    impact, rest = (0, 1) if mode == "original" else np.argsort(centers)

    def in_impact(values: NDArray[np.float64]) -> NDArray[np.bool_]:
        # The wider component is the likelier one on both far sides; beyond a centre the side decides.
        likelier = mixture.predict(values[:, None]) == impact
        return np.asarray((values <= centers[rest]) & ((values < centers[impact]) | likelier))

    single = pd.Series(in_impact(shifts["shift"].to_numpy()), shifts.index).groupby(shifts[by])
    table = _named(mean.index, names)
    table["Test_avg_shift"] = mean.to_numpy()
    table["Impact_component"] = in_impact(mean.to_numpy()).astype(int)
    table["Impact_component_percent"] = 100 * single.mean().to_numpy()
    table["N_Detections"] = single.size().to_numpy()
    return _sorted(table, ["Impact_component", "Test_avg_shift"], [False, True])


def aggregate_data(shifts: pd.DataFrame, *, names: pd.DataFrame) -> pd.DataFrame:
    """Every value of ``shift`` beside the name of the perturbed gene, in the order in which they came."""
    gene = _named(shifts["perturbed"], names)["Gene_name"]
    return pd.DataFrame({"Cosine_sim": shifts["shift"].to_numpy(), "Gene": gene})


def aggregate_gene_shifts(cells: pd.DataFrame, genes: pd.DataFrame, *, names: pd.DataFrame) -> pd.DataFrame:
    """Mean, standard deviation (of the population) and number of the shifts of each affected gene.

    Parameters
    ----------
    cells
        Columns ``perturbed`` and ``shift``: of the cells themselves.
    genes
        Columns ``perturbed``, ``affected`` and ``shift``.
    names
        Names of the vocabulary.

    Returns
    -------
    One row a perturbation for the cells, ``cell_emb``, then one for each pair of a perturbation and a gene; both from
    the lowest mean to the highest.
    """
    parts = []
    for shifts in (cells.assign(affected=CELL), genes):
        by = shifts.groupby(["perturbed", "affected"])["shift"]
        columns = {"Cosine_sim_mean": by.mean(), "Cosine_sim_stdev": by.std(ddof=0), "N_Detections": by.size()}
        found = pd.DataFrame(columns).reset_index().sort_values("Cosine_sim_mean", kind="stable", ignore_index=True)
        perturbed = _named(found["perturbed"], names).rename(columns={"Gene": "Perturbed"})
        affected = _named(found["affected"], names).set_axis(
            ["Affected", "Affected_gene_name", "Affected_Ensembl_ID"], axis=1
        )
        parts.append(pd.concat([perturbed, affected.astype(object), found[list(columns)]], axis=1))
    return pd.concat(parts, ignore_index=True)


def _named(genes: Iterable[Any], names: pd.DataFrame) -> pd.DataFrame:
    """Genes, or tuples of genes, beside their names."""
    table = pd.DataFrame({"Gene": pd.Series(list(genes))})
    for column in ("Gene_name", "Ensembl_ID"):
        name = names[column].to_dict() | {CELL: None}
        named = [tuple(name[gene] for gene in one) if isinstance(one, tuple) else name[one] for one in table["Gene"]]
        table[column] = pd.Series(named, dtype=object)
    return table


def _sorted(table: pd.DataFrame, columns: list[str], ascending: list[bool]) -> pd.DataFrame:
    return table.sort_values(columns, ascending=ascending, kind="stable", ignore_index=True)


def _against_all(perturbed: pd.Series[Any], values: pd.Series[float], mode: Mode) -> NDArray[np.float64]:
    """p-value of the rank-sum test of each gene's values against those of all genes, itself included."""
    pool = values.to_numpy()
    if mode == "original" and len(pool) > SAMPLE:
        pool = np.array(random.Random(SEED).sample(pool.tolist(), SAMPLE))
    pool = np.sort(pool)
    below = np.searchsorted(pool, values, "left") + np.searchsorted(pool, values, "right")
    by_gene = pd.Series(below / 2, values.index).groupby(perturbed)
    n = by_gene.size().to_numpy()
    return _rank_sum_p(by_gene.sum().to_numpy() + n * (n + 1) / 2, n, np.array(len(pool)))


def _rank_sum_p(
    rank_sum: NDArray[np.float64], n: NDArray[np.integer], n_others: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Two-sided p-value of the rank sum of ``n`` values among ``n + n_others``; normal approximation, no tie term."""
    possible = (n > 0) & (n_others > 0)
    expected = n * (n + n_others + 1) / 2
    spread = np.sqrt(n * n_others * ((n + n_others + 1) / 12))
    z = np.divide(rank_sum - expected, spread, out=np.zeros(len(n)), where=possible)
    return np.asarray(2 * norm.sf(np.abs(z)))
