"""Predicted against measured knock-outs of THP-1 cells (Papalexi et al., 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray
from screens_baselines import Components, correlations, regression_changes, removal_effects
from screens_data import draw, log_values, read_set
from screens_models import answered_by_all, changes, effects, known
from screens_scores import delta_scores, energy_distance, put, spearman, welch

from scfm_scverse.models import CellModel

STRONG = ("BRD4", "CUL3", "IFNGR1", "IFNGR2", "IRF1", "JAK2", "MYC", "SMAD4", "SPI1", "STAT1", "STAT2")
MEDIAN_TOTAL = 186  # of confident cells, over the 299 genes
WIDTH = 20  # components in which energy distances are measured
CELLS = 1024  # control cells that are perturbed, half of them


@dataclass(frozen=True)
class Measured:
    """What the knock-outs did.

    ``change`` [p, g] beside the control's mean ``control`` [g]; ``ranked``: genes by significance, without the target;
    ``size``: number of cells, energy distance to the control cells, and length of the change without the target.
    """

    change: pd.DataFrame
    control: pd.Series
    ranked: dict[str, list[str]]
    size: pd.DataFrame


def measure(adata: AnnData, log: NDArray[np.float32]) -> Measured:
    """Compare every knock-out with the control cells."""
    label = adata.obs["perturbation"].astype(str).to_numpy()
    control = log[label == "control"]
    place = Components.fit(log, WIDTH).scores
    ranked, size = {}, {}
    change = changed(log, label, adata.var_names)
    for target in change.index:
        cells = log[label == target]
        order = adata.var_names[np.argsort(-np.abs(welch(cells, control)), kind="stable")]
        ranked[target] = order[order != target].tolist()
        size[target] = {"cells": len(cells), "energy": energy_distance(place(cells), place(control))}
        size[target]["l2"] = float(np.linalg.norm(change.loc[target].drop(target, errors="ignore")))
    mean = pd.Series(control.mean(axis=0, dtype=np.float64), adata.var_names)
    return Measured(change, mean, ranked, pd.DataFrame(size).T)


def changed(log: NDArray[np.float32], label: NDArray[np.str_], genes: pd.Index) -> pd.DataFrame:
    """Mean of each knock-out less that of the control."""
    means = pd.DataFrame({one: log[label == one].mean(axis=0, dtype=np.float64) for one in np.unique(label)}, genes).T
    return means.drop(index="control") - means.loc["control"]


def from_cells(adata: AnnData, targets: list[str], models: dict[str, CellModel]) -> dict[str, pd.DataFrame]:
    """Answers that know nothing but control cells, [p, g]."""
    values = log_values(adata.X, MEDIAN_TOTAL)
    columns = adata.var_names.get_indexer(targets)
    answers = {
        "no change": np.zeros((len(targets), adata.n_vars)),
        "co-expression, correlation": -correlations(values, columns),
        "co-expression, regression": regression_changes(values, columns),
        "PCA removal": Components.fit(values).changes(values, columns),
        "PCA removal, scaled": Components.fit(values, scaled=True).changes(values, columns),
    }
    rows = {row: pd.DataFrame(answer, targets, adata.var_names) for row, answer in answers.items()}
    told = {name: changes(adata, model, targets) for name, model in models.items()}
    return rows | {name: change for name, change in told.items() if change is not None}


def mean_of_others(change: pd.DataFrame) -> pd.DataFrame:
    """Mean change under all other knock-outs."""
    return (change.sum() - change) / (len(change) - 1)


def effect_sizes(adata: AnnData, targets: list[str], models: dict[str, CellModel]) -> dict[str, pd.Series]:
    """Predicted size of the effect of each target: in the cells that hold it, and over all cells."""
    values = log_values(adata.X, MEDIAN_TOTAL)
    columns = adata.var_names.get_indexer(targets)
    share = pd.Series((values[:, columns] > 0).mean(axis=0), targets)
    rows = removal_effects(values, columns, targets)
    rows |= {name: effects(adata, model, targets) for name, model in models.items()}
    of_all = {f"{row}, times share of cells": (size * share).dropna() for row, size in rows.items()}
    return {"mean expression": pd.Series(values[:, columns].mean(axis=0), targets)} | rows | of_all


def run(shared: Path, models: dict[str, CellModel], seeds: list[int]) -> dict[str, Any]:
    """Every score of every row, a list over seeds."""
    adata = read_set(shared, "tasks/papalexi2021_thp1_crisprko")
    adata = adata[adata.obs["confident"].to_numpy(bool)].copy()
    log = log_values(adata.X, MEDIAN_TOTAL)
    label = adata.obs["perturbation"].astype(str).to_numpy()
    found = measure(adata, log)
    control = adata[label == "control"].copy()
    targets = [one for one in found.change.index if one in adata.var_names]
    told = {name: known(adata, model) for name, model in models.items()}
    every = answered_by_all(control, models, targets)
    results: dict[str, Any] = {
        "targets": found.size.to_dict("index"),
        "measured": targets,
        "answered by every row": every,
        "genes": adata.n_vars,
        "scores": {},
        "genes known": {name: int(genes.sum()) for name, genes in told.items()},
    }
    common = adata.var_names[np.all(list(told.values()), axis=0)].tolist()
    for seed in seeds:
        cells = control[draw(control.n_obs, CELLS, seed)].copy()
        answers = from_cells(cells, targets, models)
        half = np.random.default_rng(seed).random(len(label)) < 0.5
        halves = tuple(changed(log[part], label[part], adata.var_names) for part in (half, ~half))
        directions(results, found, halves, answers, (every, common))
        sizes(results, found, effect_sizes(cells, targets, models), every)
    return results


def directions(
    results: dict[str, Any],
    found: Measured,
    halves: tuple[pd.DataFrame, ...],
    answers: dict[str, pd.DataFrame],
    shared_by_all: tuple[list[str], list[str]],
) -> None:
    """Score the predicted changes: among all targets and the strong ones, and on what every row answers."""
    first, second = halves
    every, common = shared_by_all
    for title, among in (("25", list(found.change.index)), ("11", list(STRONG))):
        truth = found.change.loc[among]
        known_from = {"mean of the other knock-outs": (mean_of_others(truth), truth)}
        known_from["half of the truth"] = (first.loc[among], second.loc[among])
        rows = known_from | {row: (answer[answer.index.isin(among)], truth) for row, answer in answers.items()}
        for row, (answer, beside) in rows.items():
            here = answer[answer.index.isin(results["measured"])]
            scored = score(results, f"measured of {title}", row, here, beside, found)
            if row in known_from:
                score(results, f"all of {title}", row, answer, beside, found)
            if title == "25":
                for target, value in scored["r delta"].items():
                    put(results, "by target", row, str(target), float(value))
                asked = answer[answer.index.isin(every)]
                score(results, "answered by every row", row, asked, beside, found)
                score(results, "genes known to all", row, asked[common], beside[common], found)


def score(
    results: dict[str, Any], title: str, row: str, answer: pd.DataFrame, truth: pd.DataFrame, found: Measured
) -> pd.DataFrame:
    """Score one row on one choice of targets and genes."""
    table = delta_scores(answer, truth, found.control[truth.columns], found.ranked)
    for name, values in table.items():
        put(results["scores"], title, row, str(name), float(values.mean()))
    results["scores"][title][row]["n"] = [len(table)]
    return table


def sizes(results: dict[str, Any], found: Measured, rows: dict[str, pd.Series], every: list[str]) -> None:
    """Rank predicted sizes against measured ones."""
    strong = [one for one in results["measured"] if one in STRONG]
    for row, size in rows.items():
        for title, among in (("measured", results["measured"]), ("strong", strong), ("every", every)):
            there = size.index.intersection(among)
            for name in ("energy", "l2"):
                rho = spearman(size[there].to_numpy(), found.size.loc[there, name].to_numpy())
                put(results, "sizes", row, f"{title}, {name}", rho)
            results["sizes"][row][f"{title}, n"] = [len(there)]
