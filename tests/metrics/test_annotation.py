"""Scores of answers, as words and as terms of the Cell Ontology."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from scfm_scverse.metrics import accuracy, balanced_accuracy, compatible, hierarchical_scores, macro_f1, steps_up
from scfm_scverse.ontology import load_ontology
from scfm_scverse.ontology.graph import ROOT

CELL, LYMPHOCYTE, T, CD4, B = ROOT, "CL:0000542", "CL:0000084", "CL:0000624", "CL:0000236"
TERMS = sorted(load_ontology().ancestors("CL:0000792") | load_ontology().ancestors("CL:0000236"))


def test_answers_at_or_above_the_truth_are_right() -> None:
    truth = np.array([CD4, CD4, CD4, CD4, T, T, "", "malignant", T, T])
    answer = np.array([CD4, T, LYMPHOCYTE, B, CD4, CELL, T, T, "unknown", ""])
    assert compatible(truth, answer).tolist() == [1, 1, 1, 0, -1, 1, -1, -1, 0, 0]


def test_retired_terms_count_as_their_successor() -> None:
    ontology = load_ontology()
    old, new = next((old, new) for old, new in ontology.replaced.items() if new in ontology.name)
    assert compatible(np.array([old, new]), np.array([new, old])).tolist() == [1, 1]
    assert steps_up(np.array([old]), np.array([new])).tolist() == [0]


def test_steps_count_the_shortest_way_up() -> None:
    ontology = load_ontology()
    parent = ontology.parents[CD4][0]
    found = steps_up(np.array([CD4, CD4, CD4, T, "", T]), np.array([CD4, parent, B, CD4, T, "unknown"]))
    assert found.tolist() == [0, 1, -1, -1, -1, -1]


@given(st.lists(st.tuples(st.sampled_from(TERMS), st.sampled_from(TERMS)), min_size=1, max_size=30))
def test_steps_exist_exactly_where_an_answer_is_right(pairs: list[tuple[str, str]]) -> None:
    truth, answer = np.array(pairs).T
    steps = steps_up(truth, answer)
    assert ((steps >= 0) == (compatible(truth, answer) == 1)).all()
    assert ((steps == 0) == (truth == answer)).all()


@given(st.lists(st.tuples(st.sampled_from(TERMS), st.sampled_from([*TERMS, "unknown"])), min_size=1, max_size=30))
def test_hierarchical_scores_are_the_shares_of_common_ancestors(pairs: list[tuple[str, str]]) -> None:
    ontology = load_ontology()
    above = {term: ontology.ancestors(term) - {CELL} for term in TERMS} | {"unknown": frozenset()}
    shared = sum(len(above[one] & above[other]) for one, other in pairs)
    found = hierarchical_scores(*np.array(pairs).T)
    assert found["precision"] == pytest.approx(shared / max(sum(len(above[other]) for _, other in pairs), 1))
    assert found["recall"] == pytest.approx(shared / max(sum(len(above[one]) for one, _ in pairs), 1))
    product, total = found["precision"] * found["recall"], found["precision"] + found["recall"]
    assert found["f"] * total == pytest.approx(2 * product)


def test_backing_off_costs_recall_and_no_precision() -> None:
    truth = np.array([CD4, CD4, ""])
    assert hierarchical_scores(truth, np.array([CD4, CD4, B])) == {"precision": 1, "recall": 1, "f": 1}
    lifted = hierarchical_scores(truth, np.array([CD4, LYMPHOCYTE, B]))
    assert lifted["precision"] == 1
    assert lifted["recall"] < 1


words = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcde")), min_size=1, max_size=40)


@given(words)
def test_word_scores_are_means_over_the_classes_of_the_truth(pairs: list[tuple[str, str]]) -> None:
    truth, answer = np.array(pairs).T
    classes = np.unique(truth)
    f1, recall = [], []
    for one in classes:
        hit = ((truth == one) & (answer == one)).sum()
        recall.append(hit / (truth == one).sum())
        f1.append(2 * hit / ((truth == one).sum() + (answer == one).sum()))
    assert macro_f1(truth, answer) == pytest.approx(np.mean(f1))
    assert balanced_accuracy(truth, answer) == pytest.approx(np.mean(recall))
    assert accuracy(truth, answer) == pytest.approx(np.mean([one == other for one, other in pairs]))
    known = np.isin(answer, classes)
    if known.all():
        assert macro_f1(truth, answer) == pytest.approx(f1_score(truth, answer, average="macro", zero_division=0))
        assert balanced_accuracy(truth, answer) == pytest.approx(
            recall_score(truth, answer, average="macro", zero_division=0)
        )


def test_a_class_never_named_scores_zero() -> None:
    truth, answer = np.array(["a", "a", "b", "b"]), np.array(["a", "a", "a", "c"])
    assert macro_f1(truth, answer) == pytest.approx(0.5 * 0.8)
    assert balanced_accuracy(truth, answer) == 0.5
