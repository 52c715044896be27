"""Correlations of predicted and true expression: the original's numbers, and what they must not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.metrics import perturbation_scores

METRICS = ("pearson", "pearson_delta", "pearson_de", "pearson_de_delta")


def golden_inputs(shared: Path, de: str) -> tuple[np.ndarray, ...]:
    golden = np.load(shared / "golden" / "scgpt" / "perturbation.npz")
    names = [key.split("_")[1] for key in golden["metric_de_keys"].tolist()]
    genes = {
        name: np.array([int(gene[1:]) for gene in row[:20]])
        for name, row in zip(names, golden[de].tolist(), strict=True)
    }
    cells = (golden["metric_pred_f64"], golden["metric_truth_f64"], golden["metric_pert_cat"])
    return *cells, golden["metric_ctrl_f64"].mean(axis=0), genes


@pytest.mark.parametrize("metric", METRICS)
def test_scores_are_those_of_the_original(shared: Path, metric: str) -> None:
    golden = np.load(shared / "golden" / "scgpt" / "perturbation.npz")
    found = perturbation_scores(*golden_inputs(shared, "metric_de_genes")).means()
    np.testing.assert_allclose(found[metric], golden[f"metric|{metric}"], rtol=1e-9)
    expressed = perturbation_scores(*golden_inputs(shared, "metric_non_dropout"), expressed_only=True).means()
    np.testing.assert_allclose(expressed[metric], golden[f"metric_nonzero|{metric}"], rtol=1e-9)


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(3, 12))
def test_scores_are_numpys_correlations_and_do_not_depend_on_the_order_of_cells(seed: int, g: int) -> None:
    rng = np.random.default_rng(seed)
    predicted, truth = rng.gamma(1.0, size=(2, 7, g))
    names, control = np.array(list("ABABABB")), rng.gamma(1.0, size=g)
    genes = {name: rng.permutation(g)[:3] for name in "AB"}
    scores = perturbation_scores(predicted, truth, names, control, genes)
    order = rng.permutation(7)
    shuffled = perturbation_scores(predicted[order], truth[order], names[order], control, genes)
    for at, name in enumerate("AB"):
        one, other = predicted[names == name].mean(axis=0), truth[names == name].mean(axis=0)
        expected = np.corrcoef(one - control, other - control)[0, 1]
        np.testing.assert_allclose(scores.pearson_delta[at], expected, atol=1e-9)
        expected = np.corrcoef(one[genes[name]], other[genes[name]])[0, 1]
        np.testing.assert_allclose(scores.pearson_de[at], expected, atol=1e-9)
    for metric in METRICS:
        np.testing.assert_allclose(getattr(shuffled, metric), getattr(scores, metric), atol=1e-9)


def test_perturbations_without_expression_are_left_out_and_constant_predictions_have_no_correlation() -> None:
    truth = np.array([[0.0, 0, 0], [1, 2, 3]])
    predicted = np.ones((2, 3))
    genes = {name: np.arange(3) for name in "AB"}
    scores = perturbation_scores(predicted, truth, np.array(["A", "B"]), np.zeros(3), genes)
    assert scores.perturbation.tolist() == ["B"]
    assert np.isnan(scores.pearson).all()
    none = perturbation_scores(predicted[:1], truth[:1], np.array(["A"]), np.zeros(3), genes)
    assert np.isnan(list(none.means().values())).all()


def test_a_perturbation_without_genes_is_named() -> None:
    with pytest.raises(InputError, match="'B'"):
        perturbation_scores(np.ones((1, 2)), np.ones((1, 2)), np.array(["B"]), np.zeros(2), {})
