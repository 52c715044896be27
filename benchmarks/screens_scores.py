"""Scores of the benchmark of screens: arrays in, numbers out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import cdist
from scipy.stats import rankdata
from screens_baselines import cosines

from scfm_scverse.metrics import perturbation_scores

N_DE = 20


def auroc(score: NDArray, positive: NDArray[np.bool_], strata: NDArray[np.integer] | None = None) -> float:
    """Share of pairs of a positive and a negative that are in order, ties by half; pairs inside one stratum alone."""
    strata = np.zeros(len(score), np.int64) if strata is None else strata
    won = pairs = 0.0
    for stratum in np.unique(strata):
        here, truth = score[strata == stratum], positive[strata == stratum]
        n = int(truth.sum())
        won += float(rankdata(here)[truth].sum()) - n * (n + 1) / 2
        pairs += n * (len(here) - n)
    return won / pairs if pairs else float("nan")


def deciles(values: NDArray) -> NDArray[np.int64]:
    """The tenth of the values that each belongs to."""
    return (np.argsort(np.argsort(values, kind="stable"), kind="stable") * 10 // len(values)).astype(np.int64)


def spearman(one: NDArray, other: NDArray) -> float:
    """Rank correlation; NaN where one side is constant."""
    ranks = rankdata(one), rankdata(other)
    return float(np.corrcoef(*ranks)[0, 1]) if min(np.ptp(rank) for rank in ranks) > 0 else float("nan")


def energy_distance(one: NDArray, other: NDArray) -> float:
    """Energy distance of two samples, Euclidean, unbiased."""
    inside = [cdist(sample, sample).sum() / (len(sample) * (len(sample) - 1)) for sample in (one, other)]
    return float(2 * cdist(one, other).mean() - sum(inside))


def welch(one: NDArray, other: NDArray) -> NDArray[np.float64]:
    """Welch's t of every column, 0 where it is not defined."""
    spread = np.sqrt(sum(sample.var(axis=0, ddof=1) / len(sample) for sample in (one, other)))
    away = one.mean(axis=0, dtype=np.float64) - other.mean(axis=0, dtype=np.float64)
    return np.divide(away, spread, out=np.zeros(len(spread)), where=spread > 0)


def delta_scores(
    predicted: pd.DataFrame, measured: pd.DataFrame, control: pd.Series, ranked: dict[str, list[str]]
) -> pd.DataFrame:
    """Compare predicted with measured changes, [p, g] each, the perturbed gene left out of every number.

    ``ranked``: genes by significance of their change. A correlation with a constant is 0, as in GEARS. The predicted
    change is also looked for among all measured ones (``pds``: share of the others that are farther away by cosine,
    0.5 by chance).
    """
    rows = {}
    for name, change in predicted.iterrows():
        kept = measured.columns != name
        genes = measured.columns[kept]
        top = genes.get_indexer([gene for gene in ranked[str(name)] if gene in genes][:N_DE])
        base, true, guess = control.to_numpy()[kept], measured.loc[name].to_numpy()[kept], change.to_numpy()[kept]
        one = np.array([name])
        scores = perturbation_scores((base + guess)[None], (base + true)[None], one, base, {str(name): top}).means()
        near = cosines(guess, measured.to_numpy()[:, kept]).round(12)
        farther = rankdata(near)[measured.index.get_loc(name)] - 1
        rows[name] = {
            "r delta": np.nan_to_num(scores["pearson_delta"]),
            "r delta DE20": np.nan_to_num(scores["pearson_de_delta"]),
            "direction DE20": float((np.sign(guess[top]) == np.sign(true[top])).mean()),
            "pds": farther / (len(measured) - 1),
        }
    return pd.DataFrame(rows).T


def rank_share(values: NDArray) -> NDArray[np.float64]:
    """Rank of each value, from 0 to 1."""
    return (rankdata(values) - 0.5) / len(values)


def put(results: dict[str, Any], title: str, row: str, score: str, value: float) -> None:
    """Append one seed's number to a row's score."""
    results.setdefault(title, {}).setdefault(row, {}).setdefault(score, []).append(value)
