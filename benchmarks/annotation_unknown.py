"""Cells of a type that the head was never told of: is their unknown score higher than that of known ones?"""

from __future__ import annotations

import numpy as np
from annotation_builds import with_rows
from annotation_ours import ours, unknown_scores
from annotation_splits import LATER, THIRTEEN, Split, trial_words
from mini_training.build import Built, Sources
from mini_training.evaluate import LeftOut

from scfm_scverse.reference.answer import UNKNOWN

MIN_CELLS = 20
TOO_POOR = {"brain_m1_panel140"}  # seven genes a nucleus: nothing can be told from it


def types_left_out(sources: Sources, built: Built, group: str, outcomes: list[LeftOut]) -> dict[str, dict[str, float]]:
    """One broad class at a time taken out of the head, real cells and simulated ones, for each study of a group."""
    results = {}
    for name in (one for one in (*THIRTEEN, *LATER) if sources.by_name[one].group == group and one not in TOO_POOR):
        query = trial_words(sources.by_name[name])
        scored = Split(name, "unknown", [], query, built, own=False).scored
        names, counts = np.unique(query.broad[scored], return_counts=True)
        if len(names) < 2:
            continue
        for one in names[counts >= MIN_CELLS]:
            bare = with_rows(built, built.rows.take(built.rows.broad != one))
            out = ours(Split(name, "unknown", [], query, bare, own=False), outcomes)
            unknown = query.broad[scored] == one
            refused = out.answer.label[scored] == UNKNOWN
            results[f"{name}, {one}"] = unknown_scores(out.answer.unknown_score[scored], unknown, "left out") | {
                "cells": int(unknown.sum()),
                "refused": float(refused[unknown].mean()),
                "known refused": float(refused[~unknown].mean()),
            }
    return results
