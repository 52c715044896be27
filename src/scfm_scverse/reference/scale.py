"""Scales learnt on cells of studies left out: from probabilities to confidence, from distances to unknown scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

REFUSED_SHARE = 0.02  # share of known cells that may be refused


@dataclass(frozen=True)
class Calibration:
    """Logistic map from a probability p to the share of right answers: sigmoid(slope * logit(p) + intercept)."""

    slope: float
    intercept: float

    def __call__(self, probability: NDArray[np.floating]) -> NDArray[np.float32]:
        """Confidence for each probability."""
        out: NDArray[np.float32] = expit(self.slope * _logit(probability) + self.intercept).astype(np.float32)
        return out


@dataclass(frozen=True)
class UnknownScale:
    """Distances of known cells, to judge a new distance by.

    Attributes
    ----------
    quantiles
        float32 [q]: distances to the nearest class at evenly spaced quantiles among cells of known types.
    refuse_above
        Score above which a cell is called unknown.
    """

    quantiles: NDArray[np.float32]
    refuse_above: float

    def __call__(self, nearest: NDArray[np.floating]) -> NDArray[np.float32]:
        """Score between 0 and 1: the share of known cells that lie nearer.

        Beyond the farthest known cell the score goes on rising, so that it never ties.
        """
        grid = np.linspace(0, 1 - REFUSED_SHARE / 2, len(self.quantiles))
        inside = np.interp(nearest, self.quantiles, grid)
        excess = np.maximum(nearest / self.quantiles[-1] - 1, 0)
        out: NDArray[np.float32] = (1 - (1 - inside) * np.exp(-excess)).astype(np.float32)
        return out


def fit_calibration(
    probability: NDArray[np.floating], right: NDArray[np.bool_], weight: NDArray[np.floating]
) -> Calibration:
    """Fit the map by weighted logistic regression on one number (Newton's method with steps that never climb)."""
    x = np.stack([_logit(probability), np.ones(len(probability))], axis=1)
    # A small pull towards the identity keeps the fit finite when every answer is right.
    identity, pull = np.array([1.0, 0.0]), 1e-3 * weight.sum()

    def loss(theta: NDArray[np.float64]) -> float:
        z = x @ theta
        return float(weight @ (np.logaddexp(0, z) - right * z) + pull / 2 * ((theta - identity) ** 2).sum())

    theta = identity
    for _ in range(100):
        p = expit(x @ theta)
        gradient = x.T @ (weight * (right - p)) - pull * (theta - identity)
        curvature = (x * (weight * p * (1 - p))[:, None]).T @ x + pull * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        while np.abs(step).max() > 1e-8 and loss(theta + step) > loss(theta):
            step = step / 2
        theta = theta + step
        if np.abs(step).max() < 1e-8:
            break
    return Calibration(float(theta[0]), float(theta[1]))


def fit_unknown(nearest: NDArray[np.floating], weight: NDArray[np.floating]) -> UnknownScale:
    """Tabulate the distances of known cells up to the share that may be refused."""
    order = np.argsort(nearest)
    reached = np.cumsum(weight[order]) / weight.sum()
    at = np.interp(np.linspace(0, 1 - REFUSED_SHARE / 2, 101), reached, nearest[order])
    return UnknownScale(np.maximum.accumulate(at).astype(np.float32), 1 - REFUSED_SHARE)


def _logit(probability: NDArray[np.floating]) -> NDArray[np.float64]:
    p = np.clip(probability.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.log(p / (1 - p))
