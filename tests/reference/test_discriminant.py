"""The discriminant against its naive twin, and probabilities made of distances."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive.discriminant import naive_distances, naive_fit, naive_weights
from scfm_scverse.reference.discriminant import (
    SHRINKAGE,
    Discriminant,
    fit_discriminant,
    posterior,
    row_weights,
)

seeds = st.integers(0, 2**32 - 1)


def labelled(seed: int, n: int, d: int, c: int, b: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells around the means of their classes; every class has a cell."""
    rng = np.random.default_rng(seed)
    label = np.concatenate([np.arange(c), rng.integers(0, c, n)])
    batch = rng.integers(0, b, len(label)) * 3  # numbers of batches need not be consecutive
    cells = rng.normal(size=(c, d))[label] + 0.3 * rng.normal(size=(len(label), d))
    return cells, label, batch


@given(seeds, st.integers(0, 30), st.integers(1, 5), st.integers(1, 4))
def test_weights_are_those_of_the_naive_twin(seed: int, n: int, c: int, b: int) -> None:
    _, label, batch = labelled(seed, n, 1, c, b)
    np.testing.assert_allclose(row_weights(label, batch), naive_weights(label, batch), rtol=1e-9)


@given(seeds, st.integers(5, 30), st.integers(1, 6), st.integers(2, 5), st.integers(1, 3))
def test_distances_are_those_of_the_naive_twin(seed: int, n: int, d: int, c: int, b: int) -> None:
    cells, label, batch = labelled(seed, n, d, c, b)
    means, covariance = naive_fit(cells, label, batch, SHRINKAGE)
    query = np.random.default_rng(seed).normal(size=(7, d))
    found = fit_discriminant(cells, label, batch).distances(query)
    np.testing.assert_allclose(found, naive_distances(query, means, covariance), rtol=1e-3, atol=1e-3)


@given(seeds, st.integers(1, 20))
def test_distances_do_not_depend_on_the_other_cells(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    discriminant = Discriminant(
        rng.normal(size=(40, 40)).astype(np.float32) * 20, rng.normal(size=(9, 40)).astype(np.float32)
    )
    cells = rng.normal(size=(n, 40)).astype(np.float32)
    alone = np.concatenate([discriminant.distances(cell[None]) for cell in cells])
    np.testing.assert_allclose(discriminant.distances(cells), alone, rtol=1e-10)


@given(seeds, st.integers(5, 30), st.integers(1, 6), st.integers(2, 5), st.integers(1, 3))
def test_known_scatter_is_joined_with_a_share_of_the_own_and_keeps_its_size(
    seed: int, n: int, d: int, c: int, b: int
) -> None:
    cells, label, batch = labelled(seed, n, d, c, b)
    whitening = np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0] * 2
    means, own = naive_fit(cells, label, batch, SHRINKAGE)
    known = np.eye(d) / 4
    joined = 0.8 * known + 0.2 * own
    joined *= (np.linalg.det(known) / np.linalg.det(joined)) ** (1 / d)
    query = np.random.default_rng(seed).normal(size=(7, d))
    found = fit_discriminant(cells, label, batch, whitening=whitening).distances(query)
    np.testing.assert_allclose(found, naive_distances(query, means, joined), rtol=1e-3, atol=1e-3)


def test_classes_of_one_cell_and_cells_all_alike_can_be_fitted() -> None:
    cells = np.repeat(np.eye(3), [1, 4, 4], axis=0)
    label = np.repeat([0, 1, 2], [1, 4, 4])
    distances = fit_discriminant(cells, label, np.zeros(9, int)).distances(np.eye(3))
    assert np.isfinite(distances).all()
    assert (distances.argmin(axis=1) == [0, 1, 2]).all()
    np.testing.assert_allclose(np.diag(distances), 0, atol=1e-3)


@given(seeds, st.integers(1, 9), st.integers(1, 6))
def test_probabilities_add_up_to_one_and_follow_distance_and_prior(seed: int, n: int, c: int) -> None:
    rng = np.random.default_rng(seed)
    distances, prior = rng.gamma(2, 500, (n, c)), rng.uniform(0.1, 1, c)
    found = posterior(distances, prior, 10.0)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    scores = np.log(prior) - distances / 20
    assert (found.argmax(axis=1) == scores.argmax(axis=1)).all()
    same = posterior(distances + 1e5, prior * 7, 10.0)
    np.testing.assert_allclose(same, found, rtol=1e-6, atol=1e-12)


def test_probability_of_equal_distances_is_the_prior() -> None:
    assert posterior(np.full((1, 3), 4.0), np.array([1, 1, 2]), 10.0).tolist()[0] == pytest.approx([0.25, 0.25, 0.5])
