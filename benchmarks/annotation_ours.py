"""What scfm-mini says of a split, as ``tl.annotate`` uses it, and how that is judged by the Cell Ontology."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from annotation_baselines import Named
from annotation_splits import Split, finer_words
from mini_training.build import Built, Sources
from mini_training.evaluate import LeftOut, left_out, with_scales
from mini_training.head import embed_study
from mini_training.labels import BROAD
from numpy.typing import NDArray

from scfm_scverse import metrics
from scfm_scverse.reference import Reference, build_reference
from scfm_scverse.reference.answer import UNKNOWN, Answer, name_cells

DEPTHS = (0, 1, 2)


@dataclass(frozen=True)
class Ours:
    """The reference of a split and what it answers."""

    reference: Reference
    answer: Answer
    named: Named


def outcomes_of(built: Built, sources: Sources, group: str) -> list[LeftOut]:
    """Outcomes of a group left out, from which the scales of other groups are learnt."""
    studies = (study for study in sources.studies if study.group == group and (study.broad != "").any())
    return [left_out(built, study) for study in studies]


def ours(split: Split, outcomes: list[LeftOut]) -> Ours:
    """Name the query's cells; ``outcomes`` are those of other groups."""
    reference = with_scales(split.built.reference, outcomes)
    if split.own:
        reference = own_reference(split, reference)
    answer = name_cells(reference, embed_study(split.built.model, split.query))
    return Ours(reference, answer, _words(split, reference, answer))


def own_reference(split: Split, known: Reference) -> Reference:
    """The reference that ``tl.build_reference`` would make of the split's cells."""
    word = np.concatenate([part.broad for part in split.train])
    term = np.concatenate([part.term for part in split.train])
    broad = np.isin(word, list(BROAD)).all()
    return build_reference(
        np.concatenate([embed_study(split.built.model, part) for part in split.train]),
        word,
        np.array([BROAD[one][0] for one in word]) if broad else term,
        split.batch if len(np.unique(split.batch)) > 1 else None,
        name=split.name,
        model_id=known.model_id,
        known=known,
    )


def _words(split: Split, reference: Reference, answer: Answer) -> Named:
    """The best class of each cell in the words of the split, refused or not: other methods never refuse.

    With probabilities as they are before calibration.
    """
    if split.own:
        return Named.best(reference.label, answer.probabilities)
    branches = np.array(sorted(split.built.branch_of, key=lambda one: split.built.branch_of[one]))
    collected = np.stack(
        [answer.probabilities[:, reference.branch == at].sum(axis=1) for at in range(len(branches))], axis=1
    )
    if split.kind != "finer":
        return Named.best(branches, collected)
    best = collected.argmax(axis=1)
    inside = np.where(reference.branch[None, :] == best[:, None], answer.probabilities, -1)
    return Named(finer_words(branches[best], reference.term[inside.argmax(axis=1)]), inside.max(axis=1))


def judged(split: Split, out: Ours) -> dict[str, Any]:
    """How the answers hold: by ontology and depth, confidence, sets, refusal."""
    scored = split.scored
    right = outcome(split, out)
    told = scored & (right >= 0)
    accepted = told & (out.answer.label != UNKNOWN)
    result: dict[str, Any] = {
        "cells that can be told": int(told.sum()),
        "right by ontology": float((right[told] == 1).mean()),
        "right by ontology, accepted": float((right[accepted] == 1).mean()),
        "refused": float((out.answer.label[scored] == UNKNOWN).mean()),
        "ECE": metrics.expected_calibration_error(out.answer.confidence[accepted], right[accepted] == 1),
        "AURC": metrics.area_under_risk(out.answer.confidence[accepted], right[accepted] == 1),
    }
    if not split.own:
        result |= by_depth(split.query.term[scored], out.answer.term[scored], out.answer.label[scored])
        truth, term = split.query.term[accepted], out.answer.term[accepted]
        result |= {f"hierarchical {key}": one for key, one in metrics.hierarchical_scores(truth, term).items()}
    if split.query.malignant.sum() > 5:
        both = scored | split.query.malignant
        result |= unknown_scores(out.answer.unknown_score[both], split.query.malignant[both], "malignant")
        result["malignant refused"] = float((out.answer.label[split.query.malignant] == UNKNOWN).mean())
    return result | sets(split, out)


def outcome(split: Split, out: Ours) -> NDArray[np.int8]:
    """1 right, 0 wrong, -1 where the author's label cannot tell; an own reference is asked for its own words first."""
    if not split.own:
        return metrics.compatible(split.query.term, out.answer.term)
    same = out.answer.label == split.query.broad
    lifted = ~np.isin(out.answer.label, out.reference.label)
    return np.where(lifted, metrics.compatible(split.query.term, out.answer.term), same).astype(np.int8)


def by_depth(truth: NDArray[np.str_], term: NDArray[np.str_], label: NDArray[np.str_]) -> dict[str, float]:
    """Shares of answers that are the truth, one, two or more steps above it, below it, wrong, or refused."""
    known = (truth != "") & (label != UNKNOWN)
    steps, right = metrics.steps_up(truth[known], term[known]), metrics.compatible(truth[known], term[known])
    shares = {f"{one} above": float((steps == one).mean()) for one in DEPTHS}
    shares["more above"] = float((steps > max(DEPTHS)).mean())
    return shares | {"below": float((right == -1).mean()), "wrong": float((right == 0).mean())}


def unknown_scores(score: NDArray[np.floating], unknown: NDArray[np.bool_], what: str) -> dict[str, float]:
    """AUROC, and false alarms where 95 % are found."""
    return {
        f"AUROC {what}": metrics.unknown_auroc(score, unknown),
        f"false alarms {what}": metrics.false_alarms(score, unknown),
    }


def sets(split: Split, out: Ours) -> dict[str, Any]:
    """Coverage of the prediction sets with its interval, their size, and how often the best class was forced in.

    A set holds a cell's truth where one of its classes is the truth or lies above it; the classes of an own reference
    must be the very word. Judged are cells whose label is one class of the reference: it or one above, none below.
    """
    scored = split.scored
    names, code = np.unique(split.query.broad if split.own else split.query.term, return_inverse=True)
    classes = out.reference.label if split.own else out.reference.term
    pairs = np.repeat(names, len(classes)), np.tile(classes, len(names))
    fits = (pairs[0] == pairs[1]).astype(int) if split.own else metrics.compatible(*pairs)
    fits = fits.reshape(len(names), len(classes))
    resolved = (fits == 1).any(axis=1) & ~(fits == -1).any(axis=1)
    judged_cells = scored & resolved[code]
    if not judged_cells.any():
        return {"cells with one class": 0}
    texts, text = np.unique(out.answer.prediction_set[judged_cells], return_inverse=True)
    included = np.array([np.isin(out.reference.label, one.split("|")) for one in texts])[text]
    held = (included & (fits[code[judged_cells]] == 1)).any(axis=1)
    return {
        "cells with one class": int(judged_cells.sum()),
        "coverage": float(held.mean()),
        "coverage interval": list(metrics.wilson_interval(int(held.sum()), len(held))),
        "set size": float(included.sum(axis=1).mean()),
        "forced": float(out.answer.forced[judged_cells].mean()),
    }
