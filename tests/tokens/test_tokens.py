"""Ragged tokens: taking cells, lengths, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.tokens import Tokens

Cells = list[list[int]]

ragged = st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8)
some = st.data()


def tokens_of(cells: Cells) -> Tokens:
    """Tokens whose values tell the cell and the place that they came from."""
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in cells])]).astype(np.int64)
    ids = np.array([gene for cell in cells for gene in cell], dtype=np.int32)
    return Tokens(indptr, ids, np.arange(len(ids), dtype=np.float32), np.ones(10, bool))


def cells_of(tokens: Tokens) -> list[list[tuple[int, float]]]:
    """The tokens of each cell as pairs of gene and value."""
    bounds = zip(tokens.indptr[:-1], tokens.indptr[1:], strict=True)
    return [list(zip(tokens.ids[lo:hi].tolist(), tokens.values[lo:hi].tolist(), strict=True)) for lo, hi in bounds]


@given(ragged, some)
def test_take_gives_the_cells_asked_for_in_that_order(cells: Cells, data: st.DataObject) -> None:
    tokens = tokens_of(cells)
    positions = st.lists(st.integers(0, len(cells) - 1), max_size=10) if cells else st.just([])
    chosen = np.array(data.draw(positions), dtype=np.int64)
    taken = tokens.take(chosen)
    everything = cells_of(tokens)
    assert cells_of(taken) == [everything[cell] for cell in chosen]
    assert taken.measured is tokens.measured
    assert (taken.indptr.dtype, taken.ids.dtype, taken.values.dtype) == (np.int64, np.int32, np.float32)


@given(ragged)
def test_lengths_are_those_of_the_cells(cells: Cells) -> None:
    tokens = tokens_of(cells)
    assert len(tokens) == len(cells)
    assert tokens.lengths.tolist() == [len(cell) for cell in cells]


@given(ragged, some)
def test_taking_twice_is_taking_once(cells: Cells, data: st.DataObject) -> None:
    order = np.array(data.draw(st.permutations(range(len(cells)))), dtype=np.int64)
    back = np.argsort(order)
    assert cells_of(tokens_of(cells).take(order).take(back)) == cells_of(tokens_of(cells))


@pytest.mark.parametrize(
    ("indptr", "n_ids", "n_values"), [([0, 2], 3, 3), ([0, 3], 3, 2), ([1, 3], 3, 3), ([0, 4], 3, 3)]
)
def test_arrays_that_do_not_fit_are_refused(indptr: list[int], n_ids: int, n_values: int) -> None:
    with pytest.raises(ValueError, match="expected the same number"):
        Tokens(np.array(indptr), np.zeros(n_ids, np.int32), np.zeros(n_values, np.float32), np.ones(1, bool))
