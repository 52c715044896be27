"""What runs along a chromosome, told from noise and from scattered genes."""

from __future__ import annotations

import numpy as np
import pytest

from scfm_scverse.copy_number.neighbors import FARTHEST, NEAREST, neighbor_matrix, shared_stretch, stretch
from scfm_scverse.copy_number.windows import make_windows

WINDOWS = make_windows(np.repeat([1, 2, 3], [600, 400, 60]), np.arange(1060))
NEIGHBORS = neighbor_matrix(WINDOWS)


def test_neighbours_share_no_gene_and_lie_on_one_chromosome() -> None:
    pairs = NEIGHBORS.toarray()
    np.testing.assert_array_equal(pairs, pairs.T)
    left, right = np.nonzero(np.triu(pairs))
    assert len(left) > 100
    assert (WINDOWS.stop[left] <= WINDOWS.first[right]).all()
    assert (WINDOWS.chromosome[left] == WINDOWS.chromosome[right]).all()
    assert set(right - left) == set(range(NEAREST, FARTHEST + 1))


def test_short_chromosomes_have_no_neighbours() -> None:
    few = make_windows(np.repeat([1, 2], 60), np.arange(120))
    assert neighbor_matrix(few).nnz == 0
    assert stretch(np.ones((2, len(few)), np.float32), neighbor_matrix(few)).tolist() == [0, 0]


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (40, len(WINDOWS))).astype(np.float32)


def test_noise_stretches_nowhere_and_a_changed_chromosome_does(noise: np.ndarray) -> None:
    changed = noise + np.where(WINDOWS.chromosome == 2, 1.0, 0.0)
    assert abs(stretch(noise, NEIGHBORS).mean()) < 0.02
    assert stretch(changed, NEIGHBORS).mean() > 0.2


def test_what_cells_share_counts_and_noise_of_one_cell_does_not(noise: np.ndarray) -> None:
    equal = np.ones(len(noise))
    arm = np.where(WINDOWS.chromosome == 2, 1.0, -0.7)
    scattered = np.random.default_rng(1).normal(0, 1, len(WINDOWS))
    assert shared_stretch(noise + arm, equal, NEIGHBORS) > 0.8
    assert shared_stretch(noise + scattered, equal, NEIGHBORS) < 0.1
    one_wild = noise.copy()
    one_wild[0] += 10 * arm
    assert shared_stretch(one_wild + scattered, equal, NEIGHBORS) < 0.3
    assert shared_stretch(noise[:1] + arm, equal[:1], NEIGHBORS) == 0
    assert shared_stretch(noise + arm, 0 * equal, NEIGHBORS) == 0
