"""Rebuild scfm-mini: weights, default reference, metrics and model card.

Run: python scripts/train_mini.py [--shared ../shared]

Every labelled study is left out once of gene embedding, scale and head; what the model says of it then gives the
confidence and the unknown score. The model itself is built from all studies. Under an hour on two cores.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from mini_training.build import NO_EMBEDDING, VERSION, Built, Sources, build
from mini_training.card import card, metrics, share_of_fine_right
from mini_training.evaluate import LeftOut, left_out, with_scales
from mini_training.head import NO_HEAD, rounded
from mini_training.labels import BROAD
from mini_training.markers import with_markers

from scfm_scverse.io.safetensors import save_tensors
from scfm_scverse.models.scfm_mini import WEIGHTS
from scfm_scverse.reference.files import DEFAULT

CARD = Path(__file__).resolve().parents[1] / "docs/models/scfm-mini.md"
NOT_CALIBRATED = {"brain_m1_panel140"}  # seven genes a nucleus: outside what the confidence is meant for


def leave_each_out(sources: Sources, *, random_state: int) -> list[LeftOut]:
    """Outcome for the cells of every labelled study."""
    labelled = [study for study in sources.studies if np.isin(study.broad, [*BROAD, "malignant"]).any()]
    outcomes = []
    for group in dict.fromkeys(study.group for study in labelled):
        started = time.perf_counter()
        built = build(sources.without(group), random_state=random_state)
        outcomes += [left_out(built, study) for study in labelled if study.group == group]
        print(f"left out {group} in {time.perf_counter() - started:.0f} s", flush=True)
    return outcomes


def config(built: Built, sources: Sources, random_state: int) -> dict[str, object]:
    """What a rebuild needs to know, and what it was made from."""
    return {
        "model_id": built.model.spec.id,
        "random_state": random_state,
        "genes": len(built.model.spec.genes),
        "dim": built.model.spec.dim,
        "classes": len(built.reference.label),
        "classes_from_profiles_only": int(built.reference.from_profiles.sum()),
        "kept_cells": len(built.rows.embedding),
        "studies": {s.name: s.values.shape[0] for s in sources.studies if s.name not in NO_EMBEDDING | NO_HEAD},
        "profiles": {collection.name: len(collection.label) for collection in sources.profiles},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--random-state", type=int, default=0)
    arguments = parser.parse_args()
    started = time.perf_counter()
    sources = Sources.read(arguments.shared)
    built = build(sources, random_state=arguments.random_state)
    outcomes = leave_each_out(sources, random_state=arguments.random_state)
    calibrating = [one for one in outcomes if one.study not in NOT_CALIBRATED]
    reference = with_scales(built.reference, calibrating)
    WEIGHTS.parent.mkdir(exist_ok=True)
    DEFAULT.parent.mkdir(exist_ok=True)
    save_tensors(WEIGHTS, built.tensors, built.about)
    reference = with_markers(
        reference, built.model, sources.studies, sources.profiles, random_state=arguments.random_state
    )
    rounded(reference).save(DEFAULT)
    about = config(built, sources, arguments.random_state)
    about["minutes"] = round((time.perf_counter() - started) / 60, 1)
    measured = metrics(outcomes)
    WEIGHTS.with_suffix(".json").write_text(json.dumps({**about, "left_out": measured}, indent=1) + "\n")
    CARD.write_text(card(about, measured, share_of_fine_right(calibrating), VERSION))
    print(json.dumps(measured, indent=1))


if __name__ == "__main__":
    main()
