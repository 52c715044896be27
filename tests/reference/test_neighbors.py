"""Neighbours: the exact search against its naive twin, the index against the exact search."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from naive.neighbors import naive_neighbors
from scfm_scverse._errors import InputError
from scfm_scverse.reference import LabelledCells, build_reference, load_default_reference
from scfm_scverse.reference.neighbors import NeighborSearch

if TYPE_CHECKING:
    from conftest import Cells


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 40), st.integers(2, 6), st.data())
def test_exact_search_is_that_of_the_naive_twin(seed: int, n: int, m: int, d: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    cells, among = rng.normal(size=(n, d)), rng.normal(size=(m, d))
    k = data.draw(st.integers(1, m))
    _, distance = naive_neighbors(cells, among, k)
    found = NeighborSearch(among)(cells, k)
    np.testing.assert_allclose(found.distance, distance, atol=1e-5)
    for i in range(n):  # where two are equally far in single precision, either may stand first
        there = among[found.index[i]]
        cosine = there @ cells[i] / (np.linalg.norm(there, axis=1) * np.linalg.norm(cells[i]))
        np.testing.assert_allclose(1 - cosine, distance[i], atol=1e-5)
        assert len(set(found.index[i])) == k


def test_neighbors_do_not_depend_on_how_many_cells_are_compared_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    cells, among = rng.normal(size=(30, 8)), rng.normal(size=(50, 8))
    whole = NeighborSearch(among)(cells, 5)
    monkeypatch.setattr("scfm_scverse.reference.neighbors._PRODUCT", 170)
    parts = NeighborSearch(among)(cells, 5)
    assert (parts.index == whole.index).all()
    np.testing.assert_allclose(parts.distance, whole.distance, atol=1e-6)


@pytest.mark.slow  # the index is compiled first
def test_index_finds_nearly_what_the_exact_search_does_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    among = rng.normal(size=(20, 16))[rng.integers(0, 20, 2000)] + 0.3 * rng.normal(size=(2000, 16))
    cells = among[:100] + 0.1 * rng.normal(size=(100, 16))
    exact = NeighborSearch(among)(cells, 10)
    monkeypatch.setattr("scfm_scverse.reference.neighbors.EXACT_UP_TO", 1000)
    first, second = (NeighborSearch(among, random_state=3)(cells, 10) for _ in range(2))
    shared = [len(set(one) & set(other)) / 10 for one, other in zip(first.index, exact.index, strict=True)]
    assert np.mean(shared) >= 0.95
    assert (first.index == second.index).all()
    assert (np.diff(first.distance, axis=1) >= 0).all()


def test_cells_without_an_embedding_have_no_neighbors() -> None:
    rng = np.random.default_rng(0)
    cells, among = rng.normal(size=(4, 3)), rng.normal(size=(9, 3))
    cells[1, 0] = np.nan
    found = NeighborSearch(among)(cells, 2)
    assert found.index[1].tolist() == [-1, -1]
    assert np.isnan(found.distance[1]).all()
    np.testing.assert_array_equal(found.index[[0, 2, 3]], NeighborSearch(among)(cells[[0, 2, 3]], 2).index)


@pytest.mark.parametrize("k", [0, -1, 10])
def test_number_of_neighbors_that_cannot_be_is_an_error(k: int) -> None:
    with pytest.raises(InputError, match=rf"n_neighbors={k}; expected 1 to 9"):
        NeighborSearch(np.ones((9, 3)))(np.ones((2, 3)), k)


def test_neighbors_of_labelled_cells_are_of_their_class(cells: Cells) -> None:
    made = build_reference(
        cells.embedding, cells.label, np.full(len(cells.label), ""), cells.batch, name="simulated", model_id="m-1:a"
    )
    code = np.searchsorted(made.label, cells.label).astype(np.int32)
    reference = replace(made, cells=LabelledCells(cells.embedding.astype(np.float16), code, cells.batch))
    found = reference.neighbors(cells.embedding, n_neighbors=3)
    assert (found.index[:, 0] == np.arange(len(code))).mean() > 0.99
    assert (code[found.index[:, 1]] == code).mean() > 0.9
    with pytest.raises(InputError, match=r"shape \(2, 5\); expected cells x 12"):
        reference.neighbors(np.ones((2, 5)))


def test_reference_without_cells_says_so() -> None:
    with pytest.raises(InputError, match=r"keeps classes and no cells; make one with tl\.build_reference"):
        replace(load_default_reference(), cells=None).neighbors(np.ones((2, 256)))
