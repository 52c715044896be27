"""Whether raising interferon genes moves blood cells towards cells under interferon beta (Kang et al., 2018)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from screens_baselines import Components, cosines
from screens_data import draw, log_values, read_gene_set, read_interferon_genes, read_set
from screens_models import known, shifts
from screens_scores import auroc, put

from scfm_scverse.models import CellModel

RESPONSE = "HALLMARK_INTERFERON_ALPHA_RESPONSE"
SCORE = ("IFI27", "IFI44L", "IFIT1", "ISG15", "RSAD2", "SIGLEC1")  # Rice et al. (2013)
FACTOR = ("STAT1", "STAT2", "IRF9")  # ISGF3, what the receptor sends to the nucleus
KINDS = ("overexpress", "activate")
TOGETHER = "overexpress"  # no cell expresses all genes of a set, which activation of a set asks for
CELLS = 50  # control cells of a type
LEAST = 20  # cells of a type in each condition
NEAR = 25  # genes of nearest expression that others are drawn from
MATCHED = 5  # others for each gene
DRAWS = 20  # others for each set


@dataclass(frozen=True)
class Asked:
    """Perturbations of one cell type: genes and sets, and what they are compared with."""

    response: list[str]
    matched: list[str]
    sets: dict[str, list[str]]
    null_sets: dict[str, list[list[str]]]

    @property
    def together(self) -> list[list[str]]:
        """Every set."""
        return [*self.sets.values(), *(one for many in self.null_sets.values() for one in many)]


def ask(mean: pd.Series, response: list[str], avoid: set[str], seed: int) -> Asked:
    """Find genes of like expression, ``mean`` [g] over control cells, that are no interferon genes.

    Only genes in ``mean`` take part: those that every model knows.
    """
    rng = np.random.default_rng(seed)
    others = mean[~mean.index.isin(avoid)]
    listed = {"response": response, "score": list(SCORE), "factor": list(FACTOR)}
    sets = {title: [gene for gene in genes if gene in mean.index] for title, genes in listed.items()}

    def like(gene: str, size: int, taken: Collection[str] = ()) -> list[str]:
        free = others[~others.index.isin(taken)]
        near = (free - mean[gene]).abs().sort_values(kind="stable").index[:NEAR]
        return [str(one) for one in rng.choice(near, size, replace=False)]

    def like_set(genes: list[str]) -> list[str]:
        taken: list[str] = []
        for gene in genes:
            taken += like(gene, 1, taken)
        return taken

    matched = dict.fromkeys(one for gene in sets["response"] for one in like(gene, MATCHED))
    null = {title: [like_set(genes) for _ in range(DRAWS)] for title, genes in sets.items()}
    return Asked(sets["response"], list(matched), sets, null)


def run(shared: Path, models: dict[str, CellModel], seeds: list[int]) -> dict[str, Any]:
    """Scores of every row, kind and cell type, a list over seeds."""
    adata = read_set(shared, "cells/kang_ifnb_pbmc")
    adata.obs["cell_type"] = adata.obs["cell_type"].astype(str)
    adata.obs["condition"] = adata.obs["condition"].astype(str)
    counts = pd.crosstab(adata.obs["cell_type"], adata.obs["condition"])
    types = counts.index[(counts >= LEAST).all(axis=1)].tolist()
    told = adata.var_names[np.all([known(adata, model) for model in models.values()], axis=0)]
    whole = read_gene_set(shared, RESPONSE)
    response, avoid = [gene for gene in whole if gene in told], read_interferon_genes(shared)
    log = log_values(adata.X)
    spots = {"PCA shift": Components.fit(log), "PCA shift, scaled": Components.fit(log, scaled=True)}
    results: dict[str, Any] = {
        "types": counts.loc[types].to_dict("index"),
        "set": len(whole),
        "response": response,
        "factor": [gene for gene in FACTOR if gene in told],
        "scores": {},
        "together": {},
    }
    for name in types:
        of_type = adata[adata.obs["cell_type"] == name]
        control = of_type[of_type.obs["condition"] == "control"]
        mean = pd.Series(log_values(control.X).mean(axis=0), adata.var_names)[told]
        for seed in seeds:
            asked = ask(mean, response, avoid, seed)
            start = control[draw(control.n_obs, CELLS, seed)]
            goal = of_type[of_type.obs["condition"] != "control"]
            for kind in KINDS:
                for row, shift in rows_of(start, goal, asked, kind, models, spots).items():
                    score_genes(results["scores"], name, f"{row}, {kind}", shift, asked)
                    if kind == TOGETHER:
                        score_sets(results["together"], name, row, shift, asked)
    return results


def rows_of(
    start: AnnData, goal: AnnData, asked: Asked, kind: str, models: dict[str, CellModel], spots: dict[str, Components]
) -> dict[str, pd.Series]:
    """Mean shift of control cells to the goal by each perturbation."""
    names = [*asked.response, *asked.matched]
    if kind == TOGETHER:
        names += ["+".join(one) for one in asked.together]
    both = anndata.concat([start, goal])
    perturbed = {name: start.var_names.get_indexer(name.split("+")) for name in names}
    values, target = log_values(start.X), log_values(goal.X)
    raised = raised_values(values, kind)
    rows = {"expression itself": expression_shifts(values, raised, target.mean(axis=0), perturbed)}
    for row, spot in spots.items():
        rows[row] = component_shifts(values, raised, spot.scores(target).mean(axis=0), perturbed, spot)
    return rows | {name: shifts(both, model, names, kind) for name, model in models.items()}


def expression_shifts(values: NDArray, raised: NDArray, goal: NDArray, perturbed: dict[str, NDArray]) -> pd.Series:
    """Shifts by the cosine of the log values themselves; ``perturbed`` holds the columns of each perturbation."""
    inner, own, length = values @ goal, (values**2).sum(axis=1), np.linalg.norm(goal)
    out = {}
    for name, columns in perturbed.items():
        new, old = raised[:, columns], values[:, columns]
        after = (inner + (new - old) @ goal[columns]) / np.sqrt(own + (new**2 - old**2).sum(axis=1))
        out[name] = mean_of_changed((after - inner / np.sqrt(own)) / length, new - old)
    return pd.Series(out)


def component_shifts(
    values: NDArray, raised: NDArray, goal: NDArray, perturbed: dict[str, NDArray], spot: Components
) -> pd.Series:
    """Shifts by the cosine of components."""
    scores = spot.scores(values)
    before = cosines(scores, goal)
    out = {}
    for name, columns in perturbed.items():
        change = raised[:, columns] - values[:, columns]
        moved = spot.standard(raised[:, columns], columns) - spot.standard(values[:, columns], columns)
        out[name] = mean_of_changed(cosines(scores + moved @ spot.loadings[columns], goal) - before, change)
    return pd.Series(out)


def mean_of_changed(shift: NDArray, change: NDArray) -> float:
    """Mean of the cells that a perturbation changes; NaN where it changes none."""
    changed = (change != 0).any(axis=1)
    return float(shift[changed].mean()) if changed.any() else float("nan")


def raised_values(values: NDArray, kind: str) -> NDArray:
    """Log values as each would be alone if it were raised."""
    if kind == "activate":
        return np.log1p(2 * np.expm1(values))
    return np.broadcast_to(values.max(axis=1, keepdims=True), values.shape)


def score_genes(scores: dict[str, Any], name: str, row: str, shift: pd.Series, asked: Asked) -> None:
    """Compare interferon genes with others, one at a time."""
    response, matched = (shift.reindex(genes).dropna().to_numpy() for genes in (asked.response, asked.matched))
    values = np.concatenate([response, matched])
    numbers = {
        "AUROC": auroc(values, np.arange(len(values)) < len(response)),
        "mean": float(response.mean()),
        "null": float(matched.mean()),
        "towards": float((response > 0).mean()),
        "above null": float((response > np.quantile(matched, 0.95)).mean()),
        "genes": len(response),
    }
    for title, value in numbers.items():
        put(scores, row, name, title, value)


def score_sets(scores: dict[str, Any], name: str, row: str, shift: pd.Series, asked: Asked) -> None:
    """Compare sets with sets of like expression."""
    for title, genes in asked.sets.items():
        one, null = shift["+".join(genes)], shift[["+".join(many) for many in asked.null_sets[title]]]
        for key, value in (("shift", one), ("null", null.mean()), ("above", (one > null).mean())):
            put(scores, row, f"{name}, {title}", key, float(value))
