"""Which genes respond to a knock-down in primary CD4 T cells: ranked by what a model says of unperturbed cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from screens_baselines import Components, correlations, regression_changes
from screens_data import draw, log_values, read_edges, read_set
from screens_models import answered_by_all, changes, known
from screens_scores import auroc, put, rank_share

from scfm_scverse.models import CellModel

SETS = {
    "zheng": (
        "cells/zheng_sorted_pbmc",
        "CD4+/CD25 T Reg", "CD4+/CD45RA+/CD25- Naive T", "CD4+/CD45RO+ Memory", "CD4+ T Helper2",
    ),
    "kang": ("cells/kang_ifnb_pbmc", "CD4 Naive T", "CD4 Memory T"),
}  # fmt: skip
CELLS = 300
EXPRESSED = 0.01  # share of cells in which a gene is seen
FREQUENCY = "frequency of response"
CO_EXPRESSION = "co-expression, correlation"


def cd4_cells(shared: Path, name: str) -> AnnData:
    """CD4 T cells that nothing was done to, with the genes that they express."""
    path, *types = SETS[name]
    adata = read_set(shared, path)
    kept = adata.obs["cell_type"].astype(str).isin(types).to_numpy()
    if "condition" in adata.obs:
        kept &= (adata.obs["condition"] == "control").to_numpy()
    return adata[kept].copy()


def frequency_alone(edges: pd.DataFrame) -> dict[str, float]:
    """AUROC of the frequency of response over all genes that respond to any knock-down, no cells needed."""
    found = []
    for regulator in edges.index:
        genes = edges.columns != regulator
        responds = edges.loc[regulator, genes].notna().to_numpy()
        found.append(auroc(edges.loc[edges.index != regulator, genes].notna().sum().to_numpy(), responds))
    return {"mean": float(np.mean(found)), "sd": float(np.std(found)), "genes": edges.shape[1]}


def run(shared: Path, models: dict[str, CellModel], seeds: list[int]) -> dict[str, Any]:
    """Scores of every row on both sets of cells."""
    edges = read_edges(shared)
    results: dict[str, Any] = {"frequency alone": frequency_alone(edges), "sets": {}}
    for name in SETS:
        results["sets"][name] = one_set(cd4_cells(shared, name), edges, models, seeds)
    return results


def one_set(adata: AnnData, edges: pd.DataFrame, models: dict[str, CellModel], seeds: list[int]) -> dict[str, Any]:
    """Scores on one set of cells, a list over seeds, and the number of regulators behind them."""
    seen = np.asarray((adata.X > 0).mean(axis=0)).ravel() >= EXPRESSED
    expressed = adata.var_names[seen]
    regulators = edges.index.intersection(expressed, sort=True).tolist()
    told = np.all([known(adata, model) for model in models.values()], axis=0)
    common = expressed.intersection(adata.var_names[told])
    every = answered_by_all(adata, models, regulators)
    results: dict[str, Any] = {
        "cells": adata.n_obs,
        "expressed": len(expressed),
        "responding": len(expressed.intersection(edges.columns)),
        "genes known to all": len(common),
        "regulators": regulators,
        "answered by every row": every,
        "scores": {},
    }
    for seed in seeds:
        cells = adata[draw(adata.n_obs, CELLS, seed)].copy()
        for row, answer in answers_of(cells, edges, regulators, models).items():
            score(results["scores"], row, answer, edges, {"expressed": expressed, "known": common}, every)
    return results


def answers_of(
    cells: AnnData, edges: pd.DataFrame, regulators: list[str], models: dict[str, CellModel]
) -> dict[str, tuple[pd.DataFrame, pd.DataFrame | None]]:
    """For each row how likely each gene is said to respond, and the change with its sign where there is one, [p, g]."""
    values = log_values(cells.X)
    columns = cells.var_names.get_indexer(regulators)

    def frame(numbers: NDArray) -> pd.DataFrame:
        return pd.DataFrame(np.broadcast_to(numbers, (len(regulators), cells.n_vars)), regulators, cells.var_names)

    found = edges.reindex(columns=cells.var_names)
    others = {one: found.drop(index=one) for one in regulators}
    often = pd.DataFrame({one: rest.notna().sum() for one, rest in others.items()}).T
    mean = pd.DataFrame({one: rest.mean().fillna(0) for one, rest in others.items()}).T
    signed = {
        CO_EXPRESSION: frame(-correlations(values, columns)),
        "co-expression, regression": frame(regression_changes(values, columns)),
        "PCA removal": frame(Components.fit(values).changes(values, columns)),
        "PCA removal, scaled": frame(Components.fit(values, scaled=True).changes(values, columns)),
    }
    told = {name: changes(cells, model, regulators) for name, model in models.items()}
    signed |= {name: change for name, change in told.items() if change is not None}
    rows: dict[str, tuple[pd.DataFrame, pd.DataFrame | None]] = {
        "mean expression": (frame(values.mean(axis=0)), None),
        FREQUENCY: (often, mean),
    }
    rows |= {row: (change.abs(), change) for row, change in signed.items()}
    for row in (CO_EXPRESSION, *models):
        if row in signed:
            both = pd.DataFrame(
                {one: rank_share(often.loc[one]) + rank_share(signed[row].loc[one].abs()) for one in signed[row].index},
                cells.var_names,
            ).T
            rows[f"{FREQUENCY} and {row}"] = (both, None)
    return rows


def score(
    scores: dict[str, Any],
    row: str,
    answer: tuple[pd.DataFrame, pd.DataFrame | None],
    edges: pd.DataFrame,
    genes: dict[str, pd.Index],
    every: list[str],
) -> None:
    """Mean over regulators of the AUROC of true responders, and the share of them whose sign is right."""
    strength, change = answer
    among = {
        "all": (strength.index, genes["expressed"]),
        "all, responding": (strength.index, genes["expressed"].intersection(edges.columns)),
        "every": (every, genes["expressed"]),
        "every, responding": (every, genes["expressed"].intersection(edges.columns)),
        "every, known": (every, genes["known"]),
    }
    for title, (regulators, candidates) in among.items():
        found, right = [], []
        for one in regulators:
            tested = candidates[candidates != one]
            truth = edges.loc[one].reindex(tested)
            found.append(auroc(strength.loc[one, tested].to_numpy(), truth.notna().to_numpy()))
            if change is not None:
                right.append(signs(change.loc[one, tested], truth))
        put(scores, row, title, "AUROC", float(np.nanmean(found)))
        put(scores, row, title, "spread of regulators", float(np.nanstd(found)))
        scores[row][title]["n"] = [int(np.isfinite(found).sum())]
        if change is not None:
            put(scores, row, title, "sign", float(np.nanmean(right)))


def signs(change: pd.Series, truth: pd.Series) -> float:
    """Share of true responders whose direction is right, among those that are said to change."""
    both = truth.notna() & (change != 0)
    return float((np.sign(change[both]) == np.sign(truth[both])).mean()) if both.any() else float("nan")
