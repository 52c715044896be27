"""How good names of cells are: as words, and as terms of the Cell Ontology."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..ontology import CellOntology, load_ontology
from ..ontology.graph import ROOT

RIGHT, WRONG, CANNOT_TELL = 1, 0, -1


def accuracy(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> float:
    """Share of cells with the right name."""
    return float((truth == answer).mean())


def macro_f1(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> float:
    """Mean F1 over the classes of the truth, 0 for a class that is never named.

    A class that occurs only among the answers adds no term of its own; its cells count as missed where they belong.
    """
    from sklearn.metrics import f1_score

    return float(f1_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0))


def balanced_accuracy(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> float:
    """Mean recall over the classes of the truth."""
    from sklearn.metrics import recall_score

    return float(recall_score(truth, answer, labels=np.unique(truth), average="macro", zero_division=0))


def compatible(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> NDArray[np.int8]:
    """Judge answers by the Cell Ontology.

    Parameters
    ----------
    truth, answer
        Ontology ids such as ``"CL:0000084"``, [n]. Anything else, such as ``""`` or ``"unknown"``, is no term.

    Returns
    -------
    int8 [n]: 1 where the truth is the answer or lies below it; 0 where it does not; -1 where it cannot be told, since
    the answer lies below the truth or the truth is no term. An answer that is no term is wrong.
    """

    def outcome(ontology: CellOntology, one: str, other: str) -> int:
        if not _is_term(ontology, one):
            return CANNOT_TELL
        if not _is_term(ontology, other):
            return WRONG
        if ontology.is_a(one, other):
            return RIGHT
        return CANNOT_TELL if ontology.is_a(other, one) else WRONG

    return _by_pair(outcome, truth, answer).astype(np.int8)


def steps_up(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> NDArray[np.int64]:
    """Fewest ``is_a`` steps from the truth up to the answer, [n]; -1 where the answer does not lie above it."""

    def steps(ontology: CellOntology, one: str, other: str) -> int:
        if not (_is_term(ontology, one) and _is_term(ontology, other)):
            return -1
        level, goal, n = {ontology.current(one)}, ontology.current(other), 0
        while level and goal not in level:
            level = {parent for term in level for parent in ontology.parents[term]}
            n += 1
        return n if level else -1

    return _by_pair(steps, truth, answer)


def hierarchical_scores(truth: NDArray[np.str_], answer: NDArray[np.str_]) -> dict[str, float]:
    """Precision, recall and F of the sets of terms at and above truth and answer, the root "cell" left out.

    Sums over cells, so that a deep term weighs more than a shallow one (Kiritchenko et al., 2005). Cells whose truth
    is no term are left out; an answer that is no term has nothing above it.
    """
    ontology = load_ontology()
    judged = np.array([_is_term(ontology, str(one)) for one in truth], bool)

    def above(one: str) -> frozenset[str]:
        return ontology.ancestors(one) - {ROOT} if _is_term(ontology, one) else frozenset()

    def sums(size: Callable[[frozenset[str], frozenset[str]], int]) -> int:
        pair = _by_pair(lambda _, one, other: size(above(one), above(other)), truth[judged], answer[judged])
        return int(pair.sum())

    shared = sums(lambda one, other: len(one & other))
    precision = shared / max(sums(lambda _, other: len(other)), 1)
    recall = shared / max(sums(lambda one, _: len(one)), 1)
    return {"precision": precision, "recall": recall, "f": 2 * precision * recall / max(precision + recall, 1e-12)}


def _is_term(ontology: CellOntology, term: str) -> bool:
    return ontology.replaced.get(term, term) in ontology.name


def _by_pair(
    judge: Callable[[CellOntology, str, str], int], truth: NDArray[np.str_], answer: NDArray[np.str_]
) -> NDArray[np.int64]:
    """Judge each pair of terms once: cells are many, pairs are few."""
    ontology = load_ontology()
    pairs, code = np.unique(np.stack([truth, answer]), axis=1, return_inverse=True)
    judged = np.array([judge(ontology, str(one), str(other)) for one, other in pairs.T], np.int64)
    return judged[code.ravel()]
