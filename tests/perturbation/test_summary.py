"""Tests and the simple baseline of a row of a screen."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import mannwhitneyu

from scfm_scverse.perturbation import ExpressionSpace, permutation_p, rank_sum_p, summary
from scfm_scverse.perturbation.copies import Copies
from scfm_scverse.perturbation.null import Null
from scfm_scverse.perturbation.screen import Measured
from scfm_scverse.perturbation.significance import Alternative
from scfm_scverse.perturbation.summary import NUMBERS, Baseline, factor_of, summarise

RNG = np.random.default_rng(0)
NULL = RNG.random((5, 12)).astype(np.float32)
CELLS = np.array([0, 3, 4, 7, 9])
VALUES = RNG.random(5).astype(np.float32)
GENES = np.array([8, 2], np.int32)


def judged(**given: object) -> summary.Testing:
    return summary.Testing(
        **{"towards": None, "test": "ranksum", "n_permutations": 99, "donors": None, "random_state": 0} | given
    )  # type: ignore[arg-type]


def test_effects_are_tested_on_one_side_and_shifts_on_two() -> None:
    assert judged().p_value(GENES, CELLS, VALUES, NULL) == rank_sum_p(VALUES, NULL.ravel(), "greater")
    assert judged(towards=(1.0,)).p_value(GENES, CELLS, VALUES, NULL) == rank_sum_p(VALUES, NULL.ravel(), "two-sided")


@pytest.mark.parametrize("alternative", ["greater", "two-sided"])
@pytest.mark.parametrize("ties", [True, False])
def test_p_values_of_cells_are_those_of_scipy(alternative: Alternative, ties: bool) -> None:
    rng = np.random.default_rng(1)
    for n, k in rng.integers(1, 90, (60, 2)).tolist():
        values, null = (rng.integers(0, 20, size) + (0 if ties else rng.random(size)) for size in (n, k))
        method = "auto" if n * k <= 4000 else "asymptotic"
        expected = mannwhitneyu(values, null, alternative=alternative, method=method).pvalue
        found = rank_sum_p(values.astype(float), null.astype(float), alternative)
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-14)


def test_draws_depend_on_the_genes_and_the_seed_alone() -> None:
    found = judged(test="permutation", n_permutations=999)
    p = found.p_value(GENES, CELLS, VALUES, NULL)
    assert p == found.p_value(GENES[::-1], CELLS, VALUES, NULL)
    rng = np.random.default_rng((0, 2, 8))
    assert p == permutation_p(VALUES, NULL.ravel(), 999, rng, alternative="greater")
    others = [found.p_value(np.array([gene]), CELLS, VALUES, NULL) for gene in range(4)]
    others.append(judged(test="permutation", n_permutations=999, random_state=1).p_value(GENES, CELLS, VALUES, NULL))
    assert len({p, *others}) > 3


def test_donors_without_a_name_are_not_counted() -> None:
    donors = np.array([0, 0, 0, 1, 2, 1, 0, -1, 0, 3, 1, 2])
    assert judged(donors=donors).n_donors(CELLS) == 4
    assert judged().n_donors(CELLS) == 0


@pytest.mark.parametrize(
    ("kind", "dose", "factor"),
    [("delete", 1, 0), ("inhibit", 0.3, 0.7), ("activate", 2.5, 3.5), ("overexpress", 1, "largest")],
)
def test_values_are_multiplied_by_what_the_dose_leaves(kind: str, dose: float, factor: float | str) -> None:
    assert factor_of(kind, dose) == factor  # type: ignore[arg-type]


def test_perturbation_that_leaves_nothing_is_a_row_without_numbers() -> None:
    block = sp.csr_matrix(RNG.poisson(2.0, (12, 10)).astype(float))
    space = ExpressionSpace.fit(block, n_components=3)
    baseline = Baseline(space.place(block), np.arange(10), None)
    copies = Copies("delete", np.array([0, 1, 2, 3]), np.array([[4], [4], [6], [6]], np.int32), each=False)
    effect = np.array([np.nan, np.nan, 0.3, 0.5], np.float32)
    part = Measured(np.array([0, 1]), copies, np.array([0, 0, 1, 1]), effect, np.zeros((4, 0), np.float32))
    null = Null(np.arange(5)[:, None], NULL, RNG.random((10, 2)))
    rows = summarise(part, [np.array([4], np.int32), np.array([6], np.int32)], null, baseline, judged())
    assert rows[0, 0] == 0
    assert np.isnan(rows[0, 1:]).all()
    row = dict(zip(NUMBERS, rows[1].tolist(), strict=True))
    assert row["n_cells"] == 2
    assert row["effect"] == row["score"] == pytest.approx(0.4)
    scaled = block.toarray() / block.toarray().sum(axis=1, keepdims=True) * 1e4
    assert row["expression"] == pytest.approx(np.log1p(scaled[[2, 3], 6]).mean())
    assert row["null_mean"] == pytest.approx(NULL.mean(axis=1).mean())
    assert 10 ** row["log10_p"] == pytest.approx(rank_sum_p(np.array([0.3, 0.5]), NULL.ravel(), "greater"), rel=1e-5)
    assert np.isnan(row["baseline_shift"])
