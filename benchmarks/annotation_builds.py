"""Models and default references with a group of studies left out, kept on disk."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from mini_training.build import Built, Sources, build
from mini_training.head import Rows, fit_head, training_rows

from scfm_scverse.models.scfm_mini import from_tensors

ROWS = ("embedding", "broad", "term", "study")


def build_without(sources: Sources, group: str, folder: Path) -> Built:
    """Make the model and the reference without a group, or read what ``folder`` keeps of them."""
    path = folder / f"{group}.npz"
    if path.is_file():
        return _read(path)
    built = build(sources.without(group))
    folder.mkdir(parents=True, exist_ok=True)
    rows = {f"rows_{name}": getattr(built.rows, name) for name in ROWS}
    np.savez(path, about=json.dumps(built.about), **{f"model_{k}": v for k, v in built.tensors.items()}, **rows)
    return built


def _read(path: Path) -> Built:
    with np.load(path) as file:
        about = json.loads(str(file["about"]))
        tensors = {key.removeprefix("model_"): file[key] for key in file.files if key.startswith("model_")}
        rows = Rows(**{name: file[f"rows_{name}"] for name in ROWS})
    model = from_tensors(tensors, about)
    return with_rows(Built(tensors, about, model, rows, None, {}), rows)


def with_rows(built: Built, rows: Rows) -> Built:
    """The same model with a head of other rows."""
    reference, branch_of = fit_head(rows, model_id=built.model.spec.id)
    return Built(built.tensors, built.about, built.model, rows, reference, branch_of)


def with_seed(built: Built, rest: Sources, random_state: int) -> Built:
    """The same model with another choice of cells and other simulated ones in its head; 0 is what was built."""
    if random_state == 0:
        return built
    return with_rows(built, training_rows(built.model, rest.studies, rest.profiles, random_state=random_state))
