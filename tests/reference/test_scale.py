"""Scales: confidence that means what it says, unknown scores that rise with distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from scfm_scverse.reference.scale import REFUSED_SHARE, SPREAD, Confidence, fit_confidence, fit_sets, fit_unknown

seeds = st.integers(0, 2**32 - 1)


def test_confidence_finds_the_map_that_made_the_answers() -> None:
    rng = np.random.default_rng(0)
    told, distance = rng.uniform(0.01, 0.99, 50_000), rng.normal(size=50_000) * SPREAD
    truth = Confidence(0.5, -0.7, -0.4)
    right = rng.random(len(told)) < truth(told, distance)
    found = fit_confidence(told, distance, right, np.ones(len(told)))
    assert found.slope == pytest.approx(0.5, abs=0.05)
    assert found.per_distance == pytest.approx(-0.7, abs=0.05)
    assert found.intercept == pytest.approx(-0.4, abs=0.05)
    sure = found(told, distance) > 0.7
    assert right[sure].mean() == pytest.approx(found(told, distance)[sure].mean(), abs=0.02)


def test_weights_count_like_copies() -> None:
    rng = np.random.default_rng(0)
    told, far, right = rng.random(60), rng.normal(size=60) * SPREAD, rng.random(60) < 0.6
    copies = rng.integers(1, 4, 60)
    weighted = fit_confidence(told, far, right, copies.astype(float))
    repeated = fit_confidence(*(np.repeat(one, copies) for one in (told, far, right)), np.ones(copies.sum()))
    for name in ("slope", "per_distance", "intercept"):
        assert getattr(weighted, name) == pytest.approx(getattr(repeated, name), abs=1e-6)


@given(seeds, st.integers(1, 60), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([0.0, 1.0, 10.0, 1e9]))
def test_confidence_in_any_answers_is_as_high_as_they_are_right(seed: int, n: int, share: float, spread: float) -> None:
    rng = np.random.default_rng(seed)
    told, distance = expit(rng.normal(size=n) * spread), rng.normal(size=n) * SPREAD
    right = rng.random(n) < share
    found = fit_confidence(told, distance, right, np.ones(n))
    # Where the fit has converged, the mean confidence is the share of right answers but for the small pull.
    assert found(told, distance).mean() == pytest.approx(right.mean(), abs=1e-3 * abs(found.intercept) + 1e-4)


@given(seeds, st.integers(20, 400), st.sampled_from([0.01, 0.1, 0.3, 0.5]))
def test_sets_miss_the_truth_at_the_stated_rate(seed: int, n: int, alpha: float) -> None:
    true_probability = np.random.default_rng(seed).random(n)
    least = fit_sets(true_probability, np.ones(n)).least_probability(alpha)
    missed = (true_probability < least - 1e-6).mean()
    assert missed <= alpha
    # The guarantee costs two cells at most, and the table's grid one in a thousand.
    assert least == 0 or missed >= alpha - 2 / n - 0.002


def test_sets_of_too_few_cells_hold_every_class() -> None:
    assert fit_sets(np.array([0.9, 0.8, 0.99]), np.ones(3)).least_probability(0.1) == 0


@given(seeds, st.integers(1, 400))
def test_unknown_score_rises_with_distance_and_never_ties_beyond_the_known(seed: int, n: int) -> None:
    nearest = np.random.default_rng(seed).gamma(3, 100, n)
    scale = fit_unknown(nearest, np.ones(n))
    grid = np.linspace(0, nearest.max() * 3, 500)
    score = scale(grid).astype(float)
    assert (np.diff(score) >= 0).all()
    assert (score >= 0).all()
    assert (score <= 1).all()
    beyond = score[(grid > nearest.max()) & (grid < nearest.max() * 2)]
    assert (np.diff(beyond) > 0).all()


def test_share_of_known_cells_that_is_refused_is_the_one_promised() -> None:
    rng = np.random.default_rng(0)
    scale = fit_unknown(rng.gamma(3, 100, 20_000), np.ones(20_000))
    refused = scale(rng.gamma(3, 100, 20_000)) > scale.refuse_above
    assert refused.mean() == pytest.approx(REFUSED_SHARE, abs=0.005)


def test_cells_of_weight_zero_do_not_move_the_scale() -> None:
    nearest = np.random.default_rng(0).gamma(3, 100, 500)
    alone = fit_unknown(nearest, np.ones(500))
    joined = fit_unknown(np.concatenate([nearest, nearest * 50]), np.repeat([1.0, 0.0], 500))
    np.testing.assert_allclose(joined.quantiles, alone.quantiles, rtol=1e-5)
