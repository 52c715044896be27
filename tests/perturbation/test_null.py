"""What perturbations are compared with."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.perturbation.copies import Copies
from scfm_scverse.perturbation.null import MATCHED, Null, row_means, score_matrix
from scfm_scverse.perturbation.screen import Measured

N_GENES = 60


def null_of(genes: list[list[int]], n_cells: int = 3) -> Null:
    width = max(map(len, genes))
    padded = np.array([[*one, *[-1] * (width - len(one))] for one in genes], np.int64)
    rng = np.random.default_rng(0)
    return Null(padded, rng.random((len(genes), n_cells)).astype(np.float32), rng.random((N_GENES, 2)))


def test_nearest_of_the_same_size_without_a_shared_gene_are_matched() -> None:
    singles = [[gene] for gene in range(40)]
    pairs = [[gene, gene + 20] for gene in range(20, 40)] + [[3, 5], [3, 6]]
    null = null_of(singles + pairs)
    like = null.like(np.array([3]))
    assert len(like) == MATCHED
    assert 3 not in like
    assert like.max() < 40
    others = [gene for gene in range(40) if gene != 3]
    away = (null.features[others] - null.features[3]) / null.features[others].std(axis=0)
    nearest = np.array(others)[np.argsort((away**2).sum(axis=1))]
    np.testing.assert_array_equal(like, nearest[:MATCHED])
    of_pair = null.like(np.array([3, 7]))
    assert set(of_pair.tolist()) == set(range(40, 60))
    assert not len(null.like(np.array([1, 2, 3])))
    assert not len(null_of([[4]]).like(np.array([4])))


@given(st.integers(0, N_GENES - 1), st.sets(st.integers(0, N_GENES - 1), min_size=1, max_size=N_GENES))
def test_matches_are_as_many_as_there_are_others(gene: int, drawn: set[int]) -> None:
    like = null_of([[one] for one in sorted(drawn)]).like(np.array([gene]))
    assert len(like) == min(MATCHED, len(drawn - {gene}))
    assert len(set(like.tolist())) == len(like)


def test_means_leave_out_cells_that_were_not_perturbed() -> None:
    scores = np.array([[1, np.nan, 3], [np.nan, np.nan, np.nan], [2, 2, 5]], np.float32)
    np.testing.assert_allclose(row_means(scores), [2, np.nan, 3])
    np.testing.assert_allclose(Null(np.zeros((3, 1), np.int64), scores, np.zeros((1, 2))).means, [2, np.nan, 3])


def test_scores_stand_at_their_perturbation_and_cell() -> None:
    copies = Copies("delete", np.array([0, 2, 1]), np.array([[5], [5], [9]], np.int32), each=False)
    to_states = np.array([[0.1, 1], [0.2, 2], [0.3, 3]], np.float32)
    part = Measured(np.array([4, 7]), copies, np.array([4, 4, 7]), np.array([7, 8, 9], np.float32), to_states)
    np.testing.assert_array_equal(score_matrix(part, 3, None), [[7, np.nan, 8], [np.nan, 9, np.nan]])
    np.testing.assert_array_equal(score_matrix(part, 3, (0.0, 1.0)), [[1, np.nan, 2], [np.nan, 3, np.nan]])
