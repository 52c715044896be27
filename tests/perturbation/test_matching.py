"""Genes of like rank and expression."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import rankdata

from scfm_scverse._errors import InputError
from scfm_scverse.perturbation.matching import draw_null, expression_ranks, match_null


@given(arrays(np.float32, (4, 6), elements=st.integers(0, 4).map(float)))
def test_genes_are_ranked_within_each_cell_that_expresses_them(values: np.ndarray) -> None:
    found = expression_ranks(sp.csr_matrix(values))
    ranks, logs = np.full(values.shape, np.nan), np.full(values.shape, np.nan)
    for cell, row in enumerate(values.astype(np.float64)):
        on = row > 0
        ranks[cell, on] = (rankdata(-row[on]) - 1) / max(on.sum() - 1, 1)
        logs[cell, on] = np.log1p(1e4 * row[on] / row.sum())
    for gene in range(values.shape[1]):
        on = values[:, gene] > 0
        np.testing.assert_allclose(found.rank[gene], ranks[on, gene].mean() if on.any() else 1)
        np.testing.assert_allclose(found.expression[gene], logs[on, gene].mean() if on.any() else 0)
        np.testing.assert_allclose(found.share[gene], on.mean())
    np.testing.assert_array_equal(found.features, np.stack([found.rank, found.expression], axis=1))


def test_stored_zeros_are_no_expression() -> None:
    block = sp.csr_matrix((np.array([3.0, 0.0, 1.0]), np.array([0, 1, 2]), np.array([0, 3])), (1, 3))
    found = expression_ranks(block)
    assert found.rank.tolist() == [0, 1, 1]
    assert found.share.tolist() == [1, 0, 1]


def skewed(g: int = 3000) -> np.ndarray:
    """Rank and expression of genes, most of which are rare."""
    rank = np.random.default_rng(0).beta(6, 1.2, g)
    return np.stack([rank, 5 * (1 - rank) + np.random.default_rng(1).normal(0, 0.2, g)], axis=1)


def nearest(features: np.ndarray, null: np.ndarray) -> np.ndarray:
    """Distance of each row to the nearest of the null, in ranges of the features."""
    span = np.ptp(features, axis=0)
    return np.linalg.norm((features[:, None] - null[None]) / span, axis=2).min(axis=1)


@pytest.mark.parametrize("seed", range(3))
def test_drawn_genes_leave_no_gene_without_neighbours(seed: int) -> None:
    features, rng = skewed(), np.random.default_rng(seed)
    drawn = draw_null(features, np.arange(3000), np.empty(0, int), 100, rng)
    by_chance = rng.choice(3000, 100, replace=False)
    assert nearest(features, features[drawn[:, 0]]).max() < 0.15
    assert nearest(features, features[by_chance]).max() > 0.15


def test_drawn_pairs_cover_the_range_of_pairs() -> None:
    features, rng = skewed(), np.random.default_rng(0)
    drawn = draw_null(features, np.arange(3000), np.empty(0, int), 200, rng, size=2)
    pairs = features[rng.integers(0, 3000, (2000, 2))].mean(axis=1)
    assert nearest(pairs, features[drawn].mean(axis=1)).max() < 0.2
    assert drawn.shape == (200, 2)
    assert (drawn[:, 0] < drawn[:, 1]).all()


@given(st.integers(1, 30), st.integers(1, 3), st.integers(0, 9))
def test_only_candidates_are_drawn_and_none_twice(n: int, size: int, seed: int) -> None:
    features, candidates, excluded = skewed(20), np.arange(3, 20), np.array([3, 5, 0])
    drawn = draw_null(features, candidates, excluded, n, np.random.default_rng(seed), size=size)
    assert set(drawn.ravel()) <= set(candidates) - set(excluded)
    assert len({tuple(one) for one in drawn.tolist()}) == len(drawn)
    assert all(len(set(one)) == size for one in drawn.tolist())
    assert len(drawn) == (min(n, 15) if size == 1 else n)


def test_same_seed_draws_the_same_genes() -> None:
    first, again, other = (
        draw_null(skewed(), np.arange(3000), np.empty(0, int), 50, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_genes_with_the_same_features_can_be_drawn() -> None:
    drawn = draw_null(np.ones((9, 2)), np.arange(9), np.empty(0, int), 4, np.random.default_rng(0))
    assert len(drawn) == 4


def test_draw_without_enough_candidates_is_refused() -> None:
    with pytest.raises(InputError, match="Found 1 genes to compare with; expected at least 2"):
        draw_null(skewed(9), np.arange(2), np.array([1]), 5, np.random.default_rng(0), size=2)


genes = arrays(np.int64, st.tuples(st.integers(1, 6), st.just(2)), elements=st.integers(0, 19))


@given(genes, st.integers(1, 4))
def test_matches_are_the_nearest_that_share_no_gene(perturbed: np.ndarray, n: int) -> None:
    features = skewed(20)
    perturbed[perturbed[:, 0] == perturbed[:, 1], 1] = -1
    null = np.array([[0, 1], [2, 3], [4, -1], [5, 6], [7, -1], [8, 9], [10, 11], [12, 13], [14, 15]])
    found = match_null(features, perturbed, null, n)
    own = [set(one[one >= 0].tolist()) for one in perturbed]
    others = [set(one[one >= 0].tolist()) for one in null]
    of_null = np.array([features[list(one)].mean(axis=0) for one in others])
    assert found.shape == (len(perturbed), n)
    for row, members in zip(found, own, strict=True):
        distance = np.linalg.norm((features[list(members)].mean(axis=0) - of_null) / of_null.std(axis=0), axis=1)
        allowed = [at for at, other in enumerate(others) if not members & other]
        assert set(row) <= set(allowed)
        np.testing.assert_allclose(distance[row], np.sort(distance[allowed])[:n])


def test_all_have_as_few_matches_as_the_one_with_the_fewest() -> None:
    found = match_null(skewed(5), np.array([[0], [4]]), np.array([[0], [1], [2]]), 50)
    assert found.shape == (2, 2)
    assert 0 not in found[0]


def test_matches_do_not_depend_on_how_many_are_matched_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    features, null = skewed(40), np.arange(20)[:, None]
    whole = match_null(features, np.arange(40)[::-1, None], null, 20)
    monkeypatch.setattr("scfm_scverse.perturbation.matching.ROWS", 7)
    np.testing.assert_array_equal(match_null(features, np.arange(40)[::-1, None], null, 20), whole)


def test_feature_that_does_not_vary_is_no_reason_to_prefer_a_match() -> None:
    features = np.array([[0.5, 1.0], [0.5, 3.0], [0.5, 1.4]])
    assert match_null(features, np.array([[0]]), np.array([[1], [2]]), 2).tolist() == [[1, 0]]


def test_perturbation_alone_in_the_null_is_refused() -> None:
    with pytest.raises(InputError, match="shares no gene"):
        match_null(skewed(5), np.array([[0], [1]]), np.array([[0]]), 3)
