"""The baseline in a space of principal components: what it is fitted on, and where copies move."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.perturbation import expression_space
from scfm_scverse.perturbation.expression_space import ExpressionSpace, log_normalized

CELLS, GENES = 60, 12


def counts(n: int = CELLS, g: int = GENES, seed: int = 0) -> sp.csr_matrix:
    """Cells of two kinds, whose first genes differ."""
    rng = np.random.default_rng(seed)
    rate = np.where((np.arange(n) % 2)[:, None] & (np.arange(g) < g // 3), 6.0, 1.5)
    return sp.csr_matrix(rng.poisson(rate).astype(np.float32))


def dense_logs(block: sp.csr_matrix) -> np.ndarray:
    values = block.toarray().astype(np.float64)
    return np.log1p(1e4 * values / values.sum(axis=1, keepdims=True))


def cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(one @ other / np.linalg.norm(one) / np.linalg.norm(other))


BLOCK = counts()
SPACE = ExpressionSpace.fit(BLOCK, n_components=5)


def test_values_are_logarithms_of_counts_per_10000() -> None:
    np.testing.assert_allclose(log_normalized(BLOCK).toarray(), dense_logs(BLOCK), rtol=1e-12)


def test_cell_without_counts_has_no_values() -> None:
    assert log_normalized(sp.csr_matrix([[0, 0], [0, 3]])).toarray()[0].tolist() == [0, 0]


def test_components_are_those_of_centred_dense_values() -> None:
    logs = dense_logs(BLOCK)
    centred = logs - logs.mean(axis=0)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:5].T
    np.testing.assert_allclose(SPACE.center, logs.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(np.abs(SPACE.loadings.T @ expected), np.eye(5), atol=1e-3)
    np.testing.assert_allclose(SPACE.project(BLOCK), centred @ SPACE.loadings, atol=1e-5)


def test_mean_of_the_fitted_cells_is_the_origin() -> None:
    np.testing.assert_allclose(SPACE.project(BLOCK).mean(axis=0), 0, atol=1e-5)


@given(
    rows=st.lists(st.integers(0, CELLS - 1), min_size=1, max_size=8),
    factor=st.sampled_from([0.0, 0.5, 2.0, "largest"]),
    data=st.data(),
)
def test_copies_move_as_if_only_the_perturbed_values_were_replaced(
    rows: list[int], factor: float | Literal["largest"], data: st.DataObject
) -> None:
    columns = np.array([data.draw(st.permutations([-1, *range(GENES)]))[:3] for _ in rows])
    states = SPACE.project(BLOCK)[:2]
    effect, shift = SPACE.place(BLOCK).shift(np.array(rows), columns, factor, states)
    logs, values = dense_logs(BLOCK), BLOCK.toarray().astype(np.float64)
    scale = 1e4 / values.sum(axis=1)
    for at, (row, genes) in enumerate(zip(rows, columns, strict=True)):
        moved = logs[row].copy()
        for gene in genes[genes >= 0]:
            new = values[row].max() if factor == "largest" else values[row, gene] * factor
            moved[gene] = np.log1p(scale[row] * new)
        after, before = ((x - SPACE.center) @ SPACE.loadings for x in (moved, logs[row]))
        np.testing.assert_allclose(effect[at], 1 - cosine(after, before), atol=1e-12)
        expected = [cosine(after, state) - cosine(before, state) for state in states]
        np.testing.assert_allclose(shift[at], expected, atol=1e-12)


@pytest.mark.parametrize("factor", [0.0, 0.5, 3.0])
def test_gene_that_a_cell_does_not_express_cannot_be_multiplied(factor: float) -> None:
    row, column = (at[:5] for at in np.nonzero(BLOCK.toarray() == 0))
    effect, _ = SPACE.place(BLOCK).shift(row, column[:, None], factor)
    np.testing.assert_allclose(effect, 0, atol=1e-12)


def test_more_of_a_marker_moves_cells_towards_those_that_express_it() -> None:
    here, there = np.arange(0, CELLS, 2), np.arange(1, CELLS, 2)
    positions = SPACE.project(BLOCK)
    states = np.stack([positions[there].mean(axis=0), positions[here].mean(axis=0)])
    markers = np.broadcast_to(np.arange(GENES // 3), (len(here), GENES // 3))
    up = SPACE.place(BLOCK).shift(here, markers, "largest", states)[1].mean(axis=0)
    down = SPACE.place(BLOCK).shift(here, markers, 0.0, states)[1].mean(axis=0)
    assert up[0] > 0 > up[1]
    assert down[0] < 0 < down[1]


def test_scale_of_linear_values_does_not_matter() -> None:
    row, columns = np.arange(CELLS), np.ones((CELLS, 1), int)
    np.testing.assert_allclose(
        SPACE.place(sp.csr_matrix(BLOCK * 7.0)).shift(row, columns, 0.0)[0],
        SPACE.place(BLOCK).shift(row, columns, 0.0)[0],
        atol=1e-12,
    )


def test_copies_do_not_depend_on_how_many_are_moved_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    row, columns = np.arange(CELLS), np.arange(2 * CELLS).reshape(-1, 2) % GENES
    whole = SPACE.place(BLOCK).shift(row, columns, 0.0, np.eye(5))
    monkeypatch.setattr(expression_space, "COPIES", 7)
    for found, expected in zip(SPACE.place(BLOCK).shift(row, columns, 0.0, np.eye(5)), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_without_states_there_are_no_shifts() -> None:
    effect, shift = SPACE.place(BLOCK).shift(np.array([3, 4]), np.array([[0], [1]]), 0.0)
    assert effect.shape == (2,)
    assert shift.shape == (2, 0)


def test_directions_that_do_not_exist_are_nan() -> None:
    space = ExpressionSpace(np.zeros(GENES), SPACE.loadings)
    block = sp.vstack([sp.csr_matrix((1, GENES)), BLOCK[:1]]).tocsr()
    states = np.array([[0.0] * 5, [1.0] * 5])
    effect, shift = space.place(block).shift(np.array([0, 1]), np.zeros((2, 1), int), 0.0, states)
    assert np.isnan(effect).tolist() == [True, False]
    assert np.isnan(shift).tolist() == [[True, True], [True, False]]


def test_space_is_fitted_on_a_bounded_draw_of_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expression_space, "MAX_CELLS", 20)
    first, again, other = (ExpressionSpace.fit(BLOCK, n_components=3, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.loadings, again.loadings)
    assert not np.allclose(first.center, other.center)
    drawn = np.sort(np.random.default_rng(0).choice(CELLS, 20, replace=False))
    np.testing.assert_allclose(first.center, dense_logs(BLOCK)[drawn].mean(axis=0), rtol=1e-5)


def test_fitting_makes_no_dense_copy() -> None:
    n, g = 400, 20_000
    block = sp.random(n, g, 0.01, "csr", np.float32, random_state=0)
    ExpressionSpace.fit(BLOCK)  # what is imported first is not counted
    tracemalloc.start()
    ExpressionSpace.fit(block, n_components=3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * g * 4 / 2


def test_few_cells_have_few_components() -> None:
    assert ExpressionSpace.fit(BLOCK[:4]).loadings.shape == (GENES, 3)


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (0, 5)])
def test_components_of_one_cell_or_gene_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="at least two of each"):
        ExpressionSpace.fit(sp.csr_matrix(np.ones(shape)))
