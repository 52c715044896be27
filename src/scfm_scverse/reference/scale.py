"""Scales learnt on cells of studies left out: confidence, prediction sets, unknown score."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

REFUSED_SHARE = 0.02  # share of known cells that may be refused
SPREAD = 100.0  # unit of distances
GRID = 1000


@dataclass(frozen=True)
class Confidence:
    """Logistic map from the probability of an answer and the cell's distance to the chance that the answer is right.

    sigmoid(slope * logit(probability) + per_distance * distance / 100 + intercept)
    """

    slope: float
    per_distance: float
    intercept: float

    def __call__(self, probability: NDArray[np.floating], distance: NDArray[np.floating]) -> NDArray[np.float32]:
        """Confidence of each cell's answer."""
        out: NDArray[np.float32] = expit(_features(probability, distance) @ np.array(self._weights)).astype(np.float32)
        return out

    @property
    def _weights(self) -> tuple[float, float, float]:
        return self.slope, self.per_distance, self.intercept


@dataclass(frozen=True)
class SetScale:
    """How small the probability of the true class gets, to choose which classes a prediction set holds.

    Attributes
    ----------
    quantiles
        float32 [q]: 1 - probability of the true class at the levels 1/q, 2/q ... 1 among cells left out.
    n_cells
        Number of these cells.
    """

    quantiles: NDArray[np.float32]
    n_cells: int

    def least_probability(self, alpha: float) -> float:
        """Probability that a class must reach to be in the set, such that a share ``alpha`` of true classes does not.

        The quantile of split conformal prediction, ceil((n + 1)(1 - alpha)) / n; where that is above one, all classes
        are in the set.
        """
        level = np.ceil((self.n_cells + 1) * (1 - alpha)) / self.n_cells
        if level > 1:
            return 0.0
        at = int(np.ceil(level * len(self.quantiles) - 1e-9)) - 1
        return float(1 - self.quantiles[at])


@dataclass(frozen=True)
class UnknownScale:
    """Distances of known cells, to judge a new distance by.

    Attributes
    ----------
    quantiles
        float32 [q]: distances at evenly spaced quantiles among cells of known types.
    refuse_above
        Score above which a cell is called unknown.
    """

    quantiles: NDArray[np.float32]
    refuse_above: float

    def __call__(self, distance: NDArray[np.floating]) -> NDArray[np.float32]:
        """Score between 0 and 1: the share of known cells that lie nearer.

        Beyond the farthest known cell the score goes on rising, so that it never ties.
        """
        grid = np.linspace(0, 1 - REFUSED_SHARE / 2, len(self.quantiles))
        inside = np.interp(distance, self.quantiles, grid)
        spread = max(float(self.quantiles[-1] - self.quantiles[0]), SPREAD)
        excess = np.maximum(distance - self.quantiles[-1], 0) / spread
        out: NDArray[np.float32] = (1 - (1 - inside) * np.exp(-excess)).astype(np.float32)
        return out


@dataclass(frozen=True)
class Scales:
    """The scales of a reference.

    ``confidence`` may not exceed ``ceiling``: that of many studies, where one study alone cannot show how far studies
    differ.
    """

    confidence: Confidence
    sets: SetScale
    unknown: UnknownScale
    ceiling: Confidence | None = None

    def sure(self, probability: NDArray[np.floating], distance: NDArray[np.floating]) -> NDArray[np.float32]:
        """Confidence of each cell's answer."""
        own = self.confidence(probability, distance)
        return own if self.ceiling is None else np.minimum(own, self.ceiling(probability, distance))


def neutral_scales() -> Scales:
    """Scales before any cell was left out: probabilities as they are, and no cell refused below a distance of 1e9."""
    return Scales(
        Confidence(1.0, 0.0, 0.0),
        SetScale(np.ones(1, np.float32), 1),
        UnknownScale(np.array([0.0, 1e9], np.float32), 1.0 - REFUSED_SHARE),
    )


def fit_confidence(
    probability: NDArray[np.floating],
    distance: NDArray[np.floating],
    right: NDArray[np.bool_],
    weight: NDArray[np.floating],
) -> Confidence:
    """Fit the map by weighted logistic regression (Newton's method with steps that never climb)."""
    x = _features(probability, distance)
    # A small pull towards the identity keeps the fit finite when every answer is right.
    identity, pull = np.array([1.0, 0.0, 0.0]), 1e-3 * weight.sum()

    def loss(theta: NDArray[np.float64]) -> float:
        z = x @ theta
        return float(weight @ (np.logaddexp(0, z) - right * z) + pull / 2 * ((theta - identity) ** 2).sum())

    theta = identity
    for _ in range(100):
        p = expit(x @ theta)
        gradient = x.T @ (weight * (right - p)) - pull * (theta - identity)
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + pull * np.eye(3)
        step = np.linalg.solve(curvature, gradient)
        while np.abs(step).max() > 1e-8 and loss(theta + step) > loss(theta):
            step = step / 2
        theta = theta + step
        if np.abs(step).max() < 1e-8:
            break
    return Confidence(*(float(part) for part in theta))


def fit_sets(true_probability: NDArray[np.floating], weight: NDArray[np.floating]) -> SetScale:
    """Tabulate how far the probability of the true class falls short of one."""
    size = min(len(true_probability), GRID)
    quantiles = _weighted_quantiles(1 - true_probability, weight, np.arange(1, size + 1) / size)
    return SetScale(quantiles, len(true_probability))


def fit_unknown(distance: NDArray[np.floating], weight: NDArray[np.floating]) -> UnknownScale:
    """Tabulate the distances of known cells up to the share that may be refused."""
    quantiles = _weighted_quantiles(distance, weight, np.linspace(0, 1 - REFUSED_SHARE / 2, 101))
    return UnknownScale(quantiles, 1 - REFUSED_SHARE)


def _weighted_quantiles(
    values: NDArray[np.floating], weight: NDArray[np.floating], level: NDArray[np.floating]
) -> NDArray[np.float32]:
    """Smallest values that at least a share ``level`` of the weight does not exceed."""
    order = np.argsort(values)
    reached = np.cumsum(weight[order]) / weight.sum()
    at = np.minimum(np.searchsorted(reached, level - 1e-12), len(values) - 1)
    return values[order][at].astype(np.float32)


def _features(probability: NDArray[np.floating], distance: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(probability.astype(np.float64), 1e-4, 1 - 1e-4)
    return np.stack([np.log(p / (1 - p)), distance / SPREAD, np.ones(len(p))], axis=1)
