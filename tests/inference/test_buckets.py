"""Minibatches: every cell once, sorted, within the budget."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.inference.buckets import minibatches

lengths_of_cells = st.lists(st.integers(0, 30), max_size=40).map(lambda drawn: np.array(drawn, dtype=np.int64))


@given(lengths_of_cells, st.integers(1, 100), st.none() | st.integers(1, 10))
def test_every_cell_is_in_one_minibatch_within_the_budget(
    lengths: np.ndarray, budget: int, batch_size: int | None
) -> None:
    groups = minibatches(lengths, token_budget=budget, batch_size=batch_size)
    assert sorted(cell for group in groups for cell in group.tolist()) == list(range(len(lengths)))
    for group in groups:
        assert len(group) > 0
        assert len(group) == 1 or len(group) * lengths[group].max() <= budget
        assert batch_size is None or len(group) <= batch_size
    sorted_lengths = [lengths[cell] for group in groups for cell in group]
    assert sorted_lengths == sorted(sorted_lengths, reverse=True)


@given(lengths_of_cells, st.integers(1, 100))
def test_minibatches_are_as_full_as_the_budget_allows(lengths: np.ndarray, budget: int) -> None:
    groups = minibatches(lengths, token_budget=budget)
    for group in groups[:-1]:
        assert (len(group) + 1) * max(1, lengths[group].max()) > budget


def test_cells_of_one_length_keep_an_order_that_does_not_depend_on_chance() -> None:
    lengths = np.full(10, 3)
    first, second = (minibatches(lengths, token_budget=6) for _ in range(2))
    assert [group.tolist() for group in first] == [group.tolist() for group in second]
