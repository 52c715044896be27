"""Answers of every depth: what they hold, and which one is chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.ontology import load_ontology
from scfm_scverse.reference import load_default_reference
from scfm_scverse.reference.ladder import ENOUGH, LIKELY, Ladder, build_ladder, deepest


@pytest.fixture(scope="module")
def ladder() -> Ladder:
    return build_ladder(load_default_reference())


def test_answers_hold_the_classes_at_and_below_their_term(ladder: Ladder) -> None:
    reference, ontology = load_default_reference(), load_ontology()
    classes = {label: i for i, label in enumerate(reference.label.tolist())}
    named_as_term = [
        j for j, label in enumerate(ladder.label) if label not in classes and label in ontology.term_of_name
    ]
    assert len(named_as_term) > 30
    for j in named_as_term:
        term = str(ladder.term[j])
        if ontology.name[term] != ladder.label[j]:
            continue  # a branch: what is at hand of a term, under a name of its own
        for c, of_class in enumerate(reference.term):
            if ladder.members[c, j]:
                assert ontology.is_a(str(of_class), term)


def test_every_class_is_an_answer_and_no_two_answers_hold_the_same(ladder: Ladder) -> None:
    n_classes = len(load_default_reference().label)
    assert (ladder.members.sum(axis=0) == 1).sum() == n_classes
    assert len(np.unique(ladder.members, axis=1).T) == len(ladder.label)


@given(st.integers(0, 10_000), st.floats(0.05, 3))
def test_answer_holds_the_best_class_and_enough_probability(seed: int, sharpness: float) -> None:
    ladder = build_ladder(load_default_reference())
    probability = np.random.default_rng(seed).dirichlet(np.full(len(ladder.members), sharpness), 20)
    best = probability.argmax(axis=1)
    rung, share = deepest(ladder, probability, best)
    for cell, (at, told) in enumerate(zip(rung, share, strict=True)):
        collected = probability[cell] @ ladder.members
        allowed = ladder.members[best[cell]]
        if at < 0:
            assert collected[allowed].max() <= LIKELY + 1e-6
            continue
        assert allowed[at]
        assert told == pytest.approx(collected[at], abs=1e-5)
        enough = allowed & (collected >= ENOUGH + 1e-6)
        if enough.any():
            assert ladder.members[:, at].sum() <= ladder.members[:, enough].sum(axis=0).min()


def test_two_rivals_give_what_they_share(ladder: Ladder) -> None:
    reference = load_default_reference()
    ontology = load_ontology()
    rivals = [np.flatnonzero(reference.label == name)[0] for name in ("natural killer cell", "B cell")]
    probability = np.zeros((1, len(reference.label)))
    probability[0, rivals] = [0.51, 0.49]
    rung, share = deepest(ladder, probability, np.array([rivals[0]]))
    assert all(ontology.is_a(str(reference.term[one]), str(ladder.term[rung[0]])) for one in rivals)
    assert share[0] == pytest.approx(1, abs=1e-6)
