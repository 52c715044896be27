"""Whether confidence, prediction sets and unknown scores hold what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bins:
    """Cells by confidence: edges [b + 1]; cells, mean confidence and share of right answers [b], NaN where empty."""

    edges: NDArray[np.float64]
    cells: NDArray[np.int64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]


@dataclass(frozen=True)
class SetQuality:
    """Prediction sets: share that holds the truth, mean number of classes, share without any class."""

    coverage: float
    size: float
    empty: float


def reliability_bins(confidence: NDArray[np.floating], right: NDArray[np.bool_], *, n_bins: int = 15) -> Bins:
    """Count cells in bins of equal width, closed on the right.

    Parameters
    ----------
    confidence
        Between 0 and 1, no NaN, [n].
    right
        Whether the answer is right, [n].
    n_bins
        Number of bins.
    """
    edges = np.linspace(0, 1, n_bins + 1)
    at = np.digitize(confidence, edges[1:-1], right=True)
    cells = np.bincount(at, minlength=n_bins)
    some = np.where(cells > 0, cells, np.nan)
    return Bins(
        edges=edges,
        cells=cells,
        confidence=np.bincount(at, confidence, minlength=n_bins) / some,
        right=np.bincount(at, right, minlength=n_bins) / some,
    )


def expected_calibration_error(
    confidence: NDArray[np.floating], right: NDArray[np.bool_], *, n_bins: int = 15
) -> float:
    """Mean gap between confidence and share of right answers, bins weighted by their cells (Naeini et al., 2015)."""
    bins = reliability_bins(confidence, right, n_bins=n_bins)
    return float(np.nansum(bins.cells * np.abs(bins.right - bins.confidence)) / bins.cells.sum())


def brier_score(probability: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Mean over cells of the squared error summed over classes; ``truth`` [n] are columns of ``probability`` [n, c]."""
    squares = np.einsum("nc,nc->n", probability, probability, dtype=np.float64)
    of_truth = np.take_along_axis(probability, truth[:, None], axis=1).ravel()
    return float((squares - 2 * of_truth + 1).mean())


def negative_log_likelihood(probability: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Mean of -log of the probability of the truth, which is cut at 1e-12."""
    of_truth = np.take_along_axis(probability, truth[:, None], axis=1).ravel().astype(np.float64)
    return float(-np.log(np.maximum(of_truth, 1e-12)).mean())


def coverage_and_size(sets: NDArray[np.bool_], truth: NDArray[np.integer]) -> SetQuality:
    """Judge prediction sets.

    Parameters
    ----------
    sets
        Which classes each cell's set holds, [n, c].
    truth
        Column of the right class, [n]; -1 where it is none of them, which no set can hold.
    """
    held = np.take_along_axis(sets, np.maximum(truth, 0)[:, None], axis=1).ravel() & (truth >= 0)
    size = sets.sum(axis=1)
    return SetQuality(float(held.mean()), float(size.mean()), float((size == 0).mean()))


def wilson_interval(hits: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Interval of a binomial share (Wilson, 1927)."""
    from scipy.stats import binomtest

    interval = binomtest(hits, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def unknown_auroc(score: NDArray[np.floating], unknown: NDArray[np.bool_]) -> float:
    """Chance that an unknown cell scores higher than a known one, ties counting half."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(unknown, score))


def false_alarms(score: NDArray[np.floating], unknown: NDArray[np.bool_], *, found: float = 0.95) -> float:
    """Share of known cells at or above the score that at least a share ``found`` of the unknown cells reaches."""
    rising = np.sort(score[unknown])
    limit = rising[len(rising) - int(np.ceil(found * len(rising) - 1e-9))]
    return float((score[~unknown] >= limit).mean())


def risk_coverage(
    confidence: NDArray[np.floating], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of cells answered and share of wrong answers among them, as the limit on confidence falls.

    Cells of the same confidence are answered together, so that the order of cells does not matter.
    """
    _, code, cells = np.unique(-confidence.astype(np.float64), return_inverse=True, return_counts=True)
    answered = cells.cumsum()
    return answered / len(confidence), np.bincount(code.ravel(), ~right).cumsum() / answered


def area_under_risk(confidence: NDArray[np.floating], right: NDArray[np.bool_]) -> float:
    """Mean risk over all shares answered (AURC; Geifman and El-Yaniv, 2017): 0 is best."""
    coverage, risk = risk_coverage(confidence, right)
    return float(np.diff(coverage, prepend=0) @ risk)
