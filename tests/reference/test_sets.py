"""Prediction sets: never empty, spelt in falling probability."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.reference.sets import choose_sets, name_sets


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 8), st.floats(0, 1.2))
def test_sets_hold_what_is_probable_enough_or_the_top_class(seed: int, n: int, c: int, least: float) -> None:
    probability = np.random.default_rng(seed).dirichlet(np.ones(c), n)
    included, forced = choose_sets(probability, least)
    names = np.array([f"class {i}" for i in range(c)])
    spelt = name_sets(names, probability, included)
    for cell in range(n):
        enough = probability[cell] >= least
        assert forced[cell] == (not enough.any())
        expected = np.flatnonzero(enough) if enough.any() else [probability[cell].argmax()]
        assert included[cell].nonzero()[0].tolist() == list(expected)
        order = sorted(expected, key=lambda one: -probability[cell, one])
        assert spelt[cell] == "|".join(names[order])


def test_the_mark_between_names_never_stands_inside_one() -> None:
    spelt = name_sets(np.array(["a|b", "c"]), np.array([[0.6, 0.4]]), np.ones((1, 2), bool))
    assert spelt.tolist() == ["a/b|c"]


def test_long_sets_of_some_cells_take_no_room_in_others() -> None:
    included = np.eye(50, dtype=bool)
    included[0] = True
    spelt = name_sets(np.array([f"class {i:090}" for i in range(50)]), np.full((50, 50), 0.02), included)
    assert spelt.dtype == object
    assert len(spelt[0]) > 4000 > len(spelt[1])
