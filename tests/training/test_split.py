"""Cells to learn from and cells to measure the loss on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.training.split import split_cells


@given(n=st.integers(2, 300), share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_cells_are_split_by_their_share(n: int, share: float, seed: int) -> None:
    train, validation = split_cells(n, share=share, seed=seed)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(n))
    assert len(validation) == np.clip(round(share * n), 1, n - 1) or abs(len(validation) - share * n) <= 0.5
    assert np.array_equal(train, split_cells(n, share=share, seed=seed)[0])


@given(sizes=st.lists(st.integers(1, 40), min_size=2, max_size=12), share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_whole_groups_are_held_out(sizes: list[int], share: float, seed: int) -> None:
    groups = np.random.default_rng(0).permutation(np.repeat(np.arange(len(sizes)) * 3 - 1, sizes))
    train, validation = split_cells(len(groups), share=share, groups=groups, seed=seed)
    assert len(train)
    assert len(validation)
    assert np.array_equal(np.sort(np.concatenate([train, validation])), np.arange(len(groups)))
    assert not set(groups[train]) & set(groups[validation])
    # One group more or less would not come nearer than half of the largest.
    assert abs(len(validation) - share * len(groups)) <= max(sizes)


def test_other_seeds_hold_out_other_cells() -> None:
    assert not np.array_equal(split_cells(100, share=0.2, seed=0)[1], split_cells(100, share=0.2, seed=1)[1])


def test_nothing_is_held_out_on_request() -> None:
    train, validation = split_cells(5, share=0)
    assert train.tolist() == [0, 1, 2, 3, 4]
    assert validation.dtype == np.int64
    assert len(validation) == 0


def test_what_cannot_be_split_is_an_error() -> None:
    for share in (-0.1, 1.0):
        with pytest.raises(InputError, match="below 1"):
            split_cells(5, share=share)
    with pytest.raises(InputError, match="Found 1 groups of cells"):
        split_cells(5, share=0.2, groups=np.zeros(5, int))
    with pytest.raises(InputError, match="Found 1 cells"):
        split_cells(1, share=0.2)
