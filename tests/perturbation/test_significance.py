"""p-values: what they are on small numbers, and whether they are right where nothing is to be found."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations, product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control, kstest, mannwhitneyu, ttest_1samp, ttest_ind

from scfm_scverse._errors import InputError
from scfm_scverse.perturbation import significance
from scfm_scverse.perturbation.significance import among_genes_p, donor_p, false_discovery, permutation_p, rank_sum_p

Alternative = Literal["two-sided", "greater"]
ALTERNATIVES: tuple[Alternative, ...] = ("two-sided", "greater")
NOTHING = np.empty(0)
SIMULATIONS = 500
UNLIKELY = 0.001  # for one of a score of checks


def uniform(simulate: Callable[[np.random.Generator], float], seed: int = 0) -> float:
    """How likely p-values of simulations are if they are uniform."""
    rng = np.random.default_rng(seed)
    return float(kstest([simulate(rng) for _ in range(SIMULATIONS)], "uniform").pvalue)


def share_below(simulate: Callable[[np.random.Generator], float], level: float = 0.05, seed: int = 0) -> float:
    rng = np.random.default_rng(seed)
    return float(np.mean([simulate(rng) < level for _ in range(SIMULATIONS)]))


def test_few_values_have_the_exact_rank_sum_p() -> None:
    high, low = np.array([5.0, 6, 7]), np.array([1.0, 2, 3, 4])
    assert rank_sum_p(high, low, "greater") == pytest.approx(1 / 35)
    assert rank_sum_p(high, low) == pytest.approx(2 / 35)
    assert rank_sum_p(low, high, "greater") == pytest.approx(1)


def test_rank_sum_of_few_values_against_many_is_not_exact_but_conservative() -> None:
    null = np.arange(9000.0)
    assert 1 / 9001 < rank_sum_p(np.array([1e6]), null, "greater") < 0.05


many = st.lists(st.integers(0, 30).map(lambda x: x / 8), min_size=9, max_size=40).map(np.array)


@given(many.filter(lambda values: len(set(values)) > 1), many, st.sampled_from(ALTERNATIVES))
def test_many_values_have_the_rank_sum_p_of_scipy(
    values: np.ndarray, null: np.ndarray, alternative: Alternative
) -> None:
    expected = mannwhitneyu(values, null, alternative=alternative, method="asymptotic").pvalue
    assert rank_sum_p(values, null, alternative) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("p", [rank_sum_p, lambda v, w: permutation_p(v, w, 99, np.random.default_rng(0))])
def test_nan_are_left_out(p: Callable[[np.ndarray, np.ndarray], float]) -> None:
    values, null = np.array([1.0, 4, 7, 9]), np.array([0.5, 3, 2, 8, 2.5])
    assert p(np.append(values, np.nan), np.append(np.nan, null)) == p(values, null)
    assert np.isnan(p(np.array([np.nan]), null))
    assert np.isnan(p(values, NOTHING))


@pytest.mark.parametrize("alternative", ALTERNATIVES)
def test_values_that_are_all_the_same_differ_from_nothing(alternative: Alternative) -> None:
    same = np.full(20, 0.3)
    assert rank_sum_p(same, same, alternative) == 1
    assert permutation_p(same, same, 50, np.random.default_rng(0), alternative=alternative) == 1


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize(("n", "k"), [(3, 6), (6, 3), (4, 4), (1, 7)])
def test_permutation_p_is_the_share_of_all_ways_to_label(n: int, k: int, alternative: Alternative) -> None:
    numbers = np.random.default_rng(n).normal(size=n + k)
    means = np.array([numbers[list(one)].mean() for one in combinations(range(n + k), n)]) - numbers.mean()
    observed = numbers[:n].mean() - numbers.mean()
    far = means >= observed - 1e-12 if alternative == "greater" else np.abs(means) >= abs(observed) - 1e-12
    rng = np.random.default_rng(0)
    found = permutation_p(numbers[:n], numbers[n:], 40_000, rng, alternative=alternative)
    assert found == pytest.approx(far.mean(), abs=0.01)


def test_permutation_p_is_never_below_what_the_draws_can_tell() -> None:
    assert permutation_p(np.full(9, 5.0), np.arange(40) / 40, 99, np.random.default_rng(0)) == 0.01


def test_permutation_p_does_not_depend_on_how_many_numbers_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    values, null = np.random.default_rng(0).normal(0.3, 1, 30), np.random.default_rng(1).normal(size=70)
    whole = permutation_p(values, null, 500, np.random.default_rng(2))
    monkeypatch.setattr(significance, "RANDOM_NUMBERS", 200)
    assert permutation_p(values, null, 500, np.random.default_rng(2)) == whole


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize(("n", "k"), [(20, 300), (40, 40), (60, 15)])
def test_tests_over_cells_are_right_where_all_values_are_alike(n: int, k: int, alternative: Alternative) -> None:
    def ranks(rng: np.random.Generator) -> float:
        return rank_sum_p(rng.exponential(size=n), rng.exponential(size=k), alternative)

    def labels(rng: np.random.Generator) -> float:
        return permutation_p(rng.exponential(size=n), rng.exponential(size=k), 199, rng, alternative=alternative)

    assert uniform(ranks) > UNLIKELY
    assert uniform(labels) > UNLIKELY


def test_tests_over_cells_find_a_difference() -> None:
    rng = np.random.default_rng(0)
    values, null = rng.normal(1, 1, 50), rng.normal(0, 1, 200)
    assert rank_sum_p(values, null, "greater") < 1e-4
    assert permutation_p(values, null, 999, rng, alternative="greater") == 0.001
    assert rank_sum_p(-values, null, "greater") > 0.99
    assert permutation_p(-values, null, 999, rng, alternative="greater") > 0.99


def genes_that_differ(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Values of 60 cells under a gene [n] and under 40 others [m, n]; each gene has an effect of its own."""
    values = rng.normal(size=(41, 1)) + rng.normal(size=(41, 60))
    return values[0], values[1:]


def test_tests_over_cells_are_too_sure_where_genes_differ_and_those_over_genes_are_not() -> None:
    def over_cells(rng: np.random.Generator) -> float:
        values, null = genes_that_differ(rng)
        return permutation_p(values, null.ravel(), 199, rng)

    def over_genes(rng: np.random.Generator) -> float:
        values, null = genes_that_differ(rng)
        return permutation_p(values.mean(keepdims=True), null.mean(axis=1), 199, rng)

    assert share_below(over_cells) > 0.5
    assert uniform(over_genes) > UNLIKELY


def donor_effects(rng: np.random.Generator, *, n_donors: int, spread: float = 1.0) -> tuple[np.ndarray, ...]:
    """Values of a perturbation that does nothing on average but something in each donor, and of its null."""
    donors, null_donors = np.repeat(np.arange(n_donors), 30), np.repeat(np.arange(n_donors), 100)
    level = rng.normal(0, 3, n_donors)
    values = level[donors] + rng.normal(0, spread, n_donors)[donors] + rng.normal(size=len(donors))
    null = level[null_donors] + rng.normal(size=len(null_donors))
    return values, donors, null, null_donors


@pytest.mark.parametrize("alternative", ALTERNATIVES)
@pytest.mark.parametrize("n_donors", [3, 8])
def test_t_test_over_donors_is_right_where_donors_differ(n_donors: int, alternative: Alternative) -> None:
    assert uniform(lambda rng: donor_p(*donor_effects(rng, n_donors=n_donors), alternative=alternative)) > UNLIKELY


@pytest.mark.parametrize("n_donors", [12, 15])
def test_flips_of_donors_are_right_where_donors_differ(n_donors: int) -> None:
    assert uniform(lambda rng: donor_p(*donor_effects(rng, n_donors=n_donors), test="permutation")) > UNLIKELY


def test_tests_over_cells_are_too_sure_where_donors_differ() -> None:
    def without_donors(rng: np.random.Generator) -> float:
        values, _, null, _ = donor_effects(rng, n_donors=8)
        return rank_sum_p(values, null)

    assert share_below(without_donors) > 0.15
    assert share_below(lambda rng: donor_p(*donor_effects(rng, n_donors=8))) < 0.09


def test_donors_may_have_different_levels_and_numbers_of_cells() -> None:
    """A donor with high values of everything and many cells of the perturbation makes no effect."""
    donors, null_donors = np.repeat([0, 1, 2, 3], [90, 10, 10, 10]), np.repeat([0, 1, 2, 3], [10, 90, 90, 90])
    rng = np.random.default_rng(0)
    values = 5.0 * (donors == 0) + rng.normal(size=120)
    null = 5.0 * (null_donors == 0) + rng.normal(size=280)
    assert rank_sum_p(values, null) < 1e-6
    assert donor_p(values, donors, null, null_donors) > 0.05


def by_donor(differences: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two cells a donor, whose mean lies above the only value of the null by so much."""
    donors = np.arange(len(differences))
    null = 10.0 * donors
    each = null + np.array(differences)
    return np.concatenate([each - 1, each + 1]), np.tile(donors, 2), null, donors


differences = st.lists(st.integers(-40, 40).map(lambda x: x / 8), min_size=3, max_size=8)


@given(differences.filter(lambda d: len(set(d)) > 1), st.sampled_from(ALTERNATIVES))
def test_donors_are_tested_by_their_differences(found: list[float], alternative: Alternative) -> None:
    p = donor_p(*by_donor(found), alternative=alternative)
    assert p == pytest.approx(ttest_1samp(found, 0, alternative=alternative).pvalue)


@given(differences, st.sampled_from(ALTERNATIVES))
def test_flipped_signs_are_counted_exactly(found: list[float], alternative: Alternative) -> None:
    sums = np.array([np.dot(signs, found) for signs in product([1, -1], repeat=len(found))])
    far = sums >= sum(found) if alternative == "greater" else np.abs(sums) >= abs(sum(found))
    assert donor_p(*by_donor(found), alternative=alternative, test="permutation") == pytest.approx(far.mean())


def test_three_donors_that_agree_have_the_smallest_p_of_flips() -> None:
    assert donor_p(*by_donor([1, 2, 3]), test="permutation", alternative="greater") == 1 / 8
    assert donor_p(*by_donor([1, 2, 3]), test="permutation") == 2 / 8


def test_drawn_flips_count_the_given_signs() -> None:
    assert donor_p(*by_donor([1.0] * 40), test="permutation") == 1 / 10_001


@pytest.mark.parametrize(("difference", "expected"), [(0.0, (1, 1)), (2.0, (0, 0)), (-2.0, (0, 1))])
def test_donors_that_agree_perfectly(difference: float, expected: tuple[float, float]) -> None:
    found = tuple(donor_p(*by_donor([difference] * 4), alternative=alternative) for alternative in ALTERNATIVES)
    assert found == expected


def test_donor_needs_numbers_on_both_sides() -> None:
    values, donors, null, null_donors = by_donor([1, 2, 4])
    p = donor_p(values, donors, null, null_donors)
    more = donor_p(
        np.append(values, [9, 9, np.nan]), np.append(donors, [3, -1, 0]), np.append(null, 7), np.append(null_donors, 4)
    )
    assert more == p
    null[0] = np.nan
    assert np.isnan(donor_p(values, donors, null, null_donors))


def test_donors_without_any_cell_have_no_p() -> None:
    none = np.empty(0, int)
    assert np.isnan(donor_p(NOTHING, none, NOTHING, none))


p_values = st.lists(st.floats(0, 1) | st.just(np.nan), min_size=1, max_size=12).map(np.array)


@given(p_values, st.integers(0, 20))
def test_perturbations_screened_out_count_as_tested_in_vain(p: np.ndarray, more: int) -> None:
    known = ~np.isnan(p)
    found = false_discovery(p, int(known.sum()) + more)
    expected = false_discovery_control(np.concatenate([p[known], np.ones(more)]))[: known.sum()]
    np.testing.assert_array_equal(np.isnan(found), ~known)
    np.testing.assert_allclose(found[known], expected)
    assert (found[known] >= false_discovery(p)[known] - 1e-12).all()


def test_rates_of_no_p_values() -> None:
    assert np.isnan(false_discovery(np.full(3, np.nan))).all()
    assert false_discovery(NOTHING).shape == (0,)


def test_rates_of_more_p_values_than_tests_are_refused() -> None:
    with pytest.raises(InputError, match="n_tests=1 with 2 p-values"):
        false_discovery(np.array([0.1, 0.2, np.nan]), 1)


def test_genes_as_units_stay_calibrated_where_genes_differ() -> None:
    def among(rng: np.random.Generator) -> float:
        means = rng.normal(3, 2, 21)  # many cells each: no noise is left, only genes that differ
        return among_genes_p(means[0], means[1:])

    assert uniform(among) > UNLIKELY


def test_genes_as_units_equal_the_t_test_of_a_group_of_one() -> None:
    rng = np.random.default_rng(0)
    null = np.append(rng.normal(size=12), np.nan)
    for alternative in ("two-sided", "greater"):
        expected = ttest_ind([1.7], null[:-1], alternative=alternative).pvalue
        assert among_genes_p(1.7, null, alternative) == pytest.approx(expected, rel=1e-12)


def test_genes_as_units_need_a_few_genes() -> None:
    assert np.isnan(among_genes_p(1.0, np.array([0.0, 1.0, np.nan])))
    assert np.isnan(among_genes_p(np.nan, np.arange(9.0)))
    assert among_genes_p(2.0, np.ones(5)) == 0
    assert among_genes_p(0.5, np.ones(5), "greater") == 1
