"""Answers of every depth: classes, Cell Ontology terms above them, branches; and the deepest that is certain enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..ontology import load_ontology
from .reference import Reference

# Terms that are no answer: cell, eukaryotic cell, nucleate cell, and those that say what cells do, or what they came
# from, across lineages: secretory, contractile, electrically responsive, stuff accumulating, antigen presenting,
# phagocyte, supporting, precursor, progenitor, stem cell, blood cell, haploid cell, epithelium by germ layer.
NO_ANSWER = (
    "CL:0000000", "CL:0000255", "CL:0002242", "CL:0000151", "CL:0000154", "CL:0000167", "CL:0000457", "CL:0000327",
    "CL:0000152", "CL:0000183", "CL:0000393", "CL:0000325", "CL:0000145", "CL:0000518", "CL:0000630", "CL:0011115",
    "CL:0011026", "CL:0000034", "CL:0000081", "CL:0000413", "CL:0002076", "CL:0002077", "CL:0002078", "CL:0000710",
)  # fmt: skip
ENOUGH = 0.6  # probability that an answer must collect
LIKELY = 0.5  # and the broadest one, where none collects that much: classes without a term have nothing above them


@dataclass(frozen=True)
class Ladder:
    """Everything that a reference can answer.

    Attributes
    ----------
    label, term
        Name and Cell Ontology id ('' where none) of each answer, [j].
    members
        Which classes each answer holds, [c, j].
    """

    label: NDArray[np.str_]
    term: NDArray[np.str_]
    members: NDArray[np.bool_]


def build_ladder(reference: Reference) -> Ladder:
    """Collect classes, their ancestors and their branches; of answers that hold the same classes the deepest stays."""
    ontology = load_ontology()
    above = [ontology.ancestors(str(term)) if term else frozenset() for term in reference.term]
    terms = sorted(frozenset().union(*above) - set(NO_ANSWER), key=lambda one: (-len(ontology.ancestors(one)), one))
    classes = range(len(reference.label))
    rungs = [(str(reference.label[c]), str(reference.term[c]), np.arange(len(classes)) == c) for c in classes]
    rungs += [
        (str(name), str(term), reference.branch == b)
        for b, (name, term) in enumerate(zip(reference.branch_label, reference.branch_term, strict=True))
    ]
    rungs += [(ontology.name[term], term, np.array([term in one for one in above])) for term in terms]
    kept = {members.tobytes(): (label, term, members) for label, term, members in reversed(rungs)}
    labels, ids, members = zip(*reversed(kept.values()), strict=True)
    return Ladder(np.array(labels), np.array(ids), np.stack(members, axis=1))


def deepest(
    ladder: Ladder, probability: NDArray[np.floating], best: NDArray[np.integer]
) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
    """Choose for every cell the answer with fewest classes that holds its best class and collects enough probability.

    Returns
    -------
    Position in the ladder, -1 where no answer is more likely than not, and the probability that the chosen one
    collects (the largest of all, where none is chosen), [n].
    """
    collected = probability @ ladder.members.astype(np.float32)
    collected[~ladder.members[best]] = 0
    size = ladder.members.sum(axis=0)
    rank = np.where(collected >= ENOUGH, -size + np.minimum(collected, 1) / 2, -np.inf)
    chosen, broadest, rows = rank.argmax(axis=1), collected.argmax(axis=1), np.arange(len(collected))
    chosen = np.where(np.isfinite(rank[rows, chosen]), chosen, broadest)
    share = collected[rows, chosen]
    return np.where(share > LIKELY, chosen, -1), np.clip(share, 0, 1).astype(np.float32)
