"""Calibration, prediction sets and unknown scores, against formulas written out and published numbers."""

from __future__ import annotations

import sys
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, diags_array
from scipy.sparse.linalg import svds
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score, roc_curve

from scfm_scverse.metrics import (
    area_under_risk,
    brier_score,
    coverage_and_size,
    expected_calibration_error,
    false_alarms,
    negative_log_likelihood,
    reliability_bins,
    risk_coverage,
    unknown_auroc,
    wilson_interval,
)

sizes = st.shared(st.integers(2, 60), key="n")
shares = hnp.arrays(np.float64, sizes, elements=st.floats(0, 1))
flags = hnp.arrays(np.bool_, sizes)


@given(shares, flags, st.integers(1, 20))
def test_calibration_error_is_the_weighted_gap_of_right_closed_bins(
    confidence: NDArray, right: NDArray, n_bins: int
) -> None:
    edges = np.linspace(0, 1, n_bins + 1)
    expected = 0.0
    for at in range(n_bins):
        inside = (confidence > edges[at]) & (confidence <= edges[at + 1])
        if at == 0:
            inside |= confidence == 0
        if inside.any():
            expected += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert expected_calibration_error(confidence, right, n_bins=n_bins) == pytest.approx(expected)
    assert reliability_bins(confidence, right, n_bins=n_bins).cells.sum() == len(right)


def test_confidence_that_holds_has_no_error_and_empty_bins_are_nan() -> None:
    confidence, right = np.full(10, 0.7), np.arange(10) < 7
    assert expected_calibration_error(confidence, right) == pytest.approx(0)
    bins = reliability_bins(confidence, right)
    assert np.isnan(bins.right).sum() == 14
    assert bins.right[10] == pytest.approx(0.7)


def test_brier_and_likelihood_agree_with_sklearn() -> None:
    rng = np.random.default_rng(0)
    probability = rng.dirichlet(np.ones(4), 200)
    truth = rng.integers(0, 4, 200)
    one_hot = np.eye(4)[truth]
    assert brier_score(probability, truth) == pytest.approx(((probability - one_hot) ** 2).sum(1).mean())
    two = probability[:, :2] / probability[:, :2].sum(1, keepdims=True)
    assert brier_score(two, truth % 2) == pytest.approx(2 * brier_score_loss(truth % 2, two[:, 1]))
    assert negative_log_likelihood(probability, truth) == pytest.approx(log_loss(truth, probability))
    assert np.isfinite(negative_log_likelihood(np.array([[1.0, 0.0]]), np.array([1])))


def test_sets_count_cells_whose_class_is_not_there_as_missed() -> None:
    sets = np.array([[True, False], [True, True], [False, False], [True, True]])
    found = coverage_and_size(sets, np.array([0, 1, 0, -1]))
    assert (found.coverage, found.size, found.empty) == (0.5, 1.25, 0.25)


@pytest.mark.parametrize(("hits", "n"), [(0, 10), (3, 10), (10, 10), (905, 1000)])
def test_wilson_interval_is_the_formula(hits: int, n: int) -> None:
    z, share = 1.959963984540054, hits / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    assert wilson_interval(hits, n) == pytest.approx((max(middle - half, 0), min(middle + half, 1)))


@given(hnp.arrays(np.float64, sizes, elements=st.integers(0, 8)), flags)
def test_unknown_scores_agree_with_the_roc_curve(score: NDArray, unknown: NDArray) -> None:
    unknown = unknown.copy()
    unknown[:2] = [True, False]
    assert unknown_auroc(score, unknown) == pytest.approx(roc_auc_score(unknown, score))
    false, true, _ = roc_curve(unknown, score, drop_intermediate=False)
    assert false_alarms(score, unknown) == pytest.approx(false[true >= 0.95 - 1e-9].min())


@given(hnp.arrays(np.float64, sizes, elements=st.integers(0, 5)), flags, st.randoms())
def test_risk_does_not_depend_on_the_order_of_cells(confidence: NDArray, right: NDArray, random) -> None:
    order = np.array(random.sample(range(len(right)), len(right)))
    coverage, risk = risk_coverage(confidence, right)
    for share, wrong, limit in zip(coverage, risk, np.unique(confidence)[::-1], strict=True):
        answered = confidence >= limit
        assert share == pytest.approx(answered.mean())
        assert wrong == pytest.approx((~right[answered]).mean())
    assert area_under_risk(confidence[order], right[order]) == pytest.approx(area_under_risk(confidence, right))


def test_sure_answers_that_are_right_lower_the_area_under_risk() -> None:
    right = np.array([True, True, True, False])
    sure_first, sure_last = np.array([4.0, 3, 2, 1]), np.array([1.0, 2, 3, 4])
    assert area_under_risk(sure_first, right) == pytest.approx(1 / 16)
    assert area_under_risk(sure_last, right) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


@pytest.fixture(scope="module")
def gated(shared: Path) -> tuple[NDArray, NDArray]:
    """Log values and gated label of blood cells: 1161 to train, 581 to calibrate, 581 to test, in this order."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    adata = read_cells(shared / "data" / "tasks" / "citeseq_pbmc_10k5k.cells")
    adata = adata[(adata.obs["batch"] == "pbmc10k") & (adata.obs["cell_type"] != "ungated")]
    order = np.random.default_rng(0).permutation(adata.n_obs)
    counts = csr_matrix(adata.X, dtype=float)[order]
    scaled = diags_array(1e4 / np.asarray(counts.sum(1)).ravel()) @ counts
    return np.log1p(scaled.toarray()), adata.obs["cell_type"].to_numpy(str)[order]


def _probability(cells: NDArray, label: NDArray, train: NDArray) -> tuple[NDArray, NDArray]:
    """Classes, and their probabilities for the cells after the first 1161: regression on 30 components."""
    mean = cells[train].mean(0)
    components = (cells - mean) @ svds(cells[train] - mean, 30, rng=0)[2].T
    fit = LogisticRegression(C=1.0, max_iter=2000).fit(components[train], label[train])
    return fit.classes_, fit.predict_proba(components[1161:])


def test_numbers_of_a_plain_classifier_are_those_written_down(gated: tuple[NDArray, NDArray]) -> None:
    """Those of the shared page on task baselines, section 10, up to a few cells: its decomposition was another."""
    cells, label = gated
    classes, probability = _probability(cells, label, np.arange(1161))
    truth = np.searchsorted(classes, label[1161:])
    test, of_test = probability[581:], truth[581:]
    right = test.argmax(1) == of_test
    assert right.mean() == pytest.approx(0.978, abs=0.001)
    assert expected_calibration_error(test.max(1), right) == pytest.approx(0.013, abs=0.004)
    assert brier_score(test, of_test) == pytest.approx(0.033, abs=0.001)
    assert negative_log_likelihood(test, of_test) == pytest.approx(0.071, abs=0.003)
    score = np.sort(1 - probability[np.arange(581), truth[:581]])
    written_down = ((0.1, 0.907, 0.912, 0.088), (0.05, 0.969, 0.979, 0.021), (0.01, 0.995, 1.093, 0.0))
    for alpha, coverage, size, empty in written_down:
        limit = score[int(np.ceil(582 * (1 - alpha))) - 1]
        found = coverage_and_size(1 - test <= limit, of_test)
        assert (found.coverage, found.size, found.empty) == pytest.approx((coverage, size, empty), abs=0.006)


@pytest.mark.parametrize(("out", "expected"), [("B", 0.870), ("CD14 Mono", 0.943)])
def test_unknown_scores_of_types_left_out_are_those_written_down(
    gated: tuple[NDArray, NDArray], out: str, expected: float
) -> None:
    cells, label = gated
    _, probability = _probability(cells, label, np.flatnonzero(label[:1161] != out))
    found = unknown_auroc(1 - probability[581:].max(1), label[1161 + 581 :] == out)
    assert found == pytest.approx(expected, abs=0.02)
