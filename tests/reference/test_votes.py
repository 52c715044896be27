"""Votes of the nearest against stored results and naive twins."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.reference.neighbors import NeighborSearch
from scfm_scverse.reference.votes import majority_vote, rank_conditions


def test_mapping_to_labelled_cells_is_that_of_an_exact_index(shared: Path) -> None:
    folder = shared / "golden" / "scgpt"
    golden, cells = np.load(folder / "reference_mapping.npz"), np.load(folder / "embed.npz")["X_scGPT_half"]
    found = NeighborSearch(cells[golden["ref_rows"]])(cells[golden["query_rows"]], 10)
    assert (found.index == golden["neighbors"]).all()
    np.testing.assert_allclose(2 * found.distance, golden["sq_dist"], rtol=1e-4, atol=2e-5)
    label, tie = majority_vote(golden["labels"][golden["ref_rows"]][found.index])
    assert (label == golden["pred_majority_ties_to_nearest"]).all()
    assert (tie == golden["tie"]).all()


@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=5, max_size=5), min_size=1, max_size=6))
def test_majority_is_the_most_frequent_label_and_the_nearest_of_several(cells: list[list[str]]) -> None:
    label, tie = majority_vote(np.array(cells))
    for row, one, tied in zip(cells, label.tolist(), tie.tolist(), strict=True):
        votes = Counter(row)
        best = [name for name in row if votes[name] == max(votes.values())]
        assert one == best[0]
        assert tied == (len(set(best)) > 1)


def test_conditions_are_ranked_as_in_the_two_rounds_of_the_paper(shared: Path) -> None:
    golden = np.load(shared / "golden" / "scgpt" / "reverse_perturbation.npz")
    arguments = (golden["query"], golden["reference"], golden["reference_condition"], golden["conditions"])
    found = rank_conditions(*arguments, n_neighbors=int(golden["K"]))
    assert (found.neighbors == golden["neighbors"]).all()
    assert (found.votes == golden["votes"]).all()
    np.testing.assert_allclose(found.distance, golden["mean_distance_f64"], rtol=1e-6)
    assert (found.condition[found.order] == golden["ranking"]).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6))
def test_ranking_is_that_of_loops(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    query, profiles = rng.integers(0, 3, (4, 3)).astype(float), rng.integers(0, 3, (6, 3)).astype(float)
    of, conditions = np.array(list("ABCABA")), np.array(list("DCBA"))
    found = rank_conditions(query, profiles, of, conditions, n_neighbors=k)
    distance = np.array([[np.linalg.norm(cell - profile) for profile in profiles] for cell in query])
    votes = Counter(of[at] for row in distance for at in np.argsort(row, kind="stable")[:k])
    assert found.votes.tolist() == [votes[name] for name in conditions]
    for name, mean in zip(conditions[1:], found.distance[1:], strict=True):
        np.testing.assert_allclose(mean, distance[:, of == name].mean())
    assert np.isnan(found.distance[0])
    assert sorted(found.order.tolist()) == [0, 1, 2, 3]
    assert (np.diff(found.votes[found.order]) <= 0).all()


def test_ranking_does_not_depend_on_how_many_distances_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arguments = (rng.normal(size=(9, 4)), rng.normal(size=(7, 4)), np.array(list("ABABABB")), np.array(["A", "B"]))
    whole = rank_conditions(*arguments, n_neighbors=3)
    monkeypatch.setattr("scfm_scverse.reference.votes._DISTANCES", 15)
    parts = rank_conditions(*arguments, n_neighbors=3)
    assert (parts.neighbors == whole.neighbors).all()
    np.testing.assert_allclose(parts.distance, whole.distance, rtol=1e-12)


def test_more_neighbours_than_profiles_are_refused() -> None:
    with pytest.raises(InputError, match="n_neighbors=3"):
        rank_conditions(np.ones((1, 2)), np.ones((2, 2)), np.array(["A", "B"]), np.array(["A", "B"]), n_neighbors=3)
