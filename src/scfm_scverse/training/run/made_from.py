"""What a run depends on, so that it is gone on with by nothing else."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ..._errors import FileError, InputError
from ..._logging import say
from ...models.trainable import Trainable
from ..cells import Minibatches
from ..objectives import Objective
from ..settings import TrainSettings
from .files import read_tensors

CHECKPOINT = "run.ckpt"
LEFT = "left_as.txt"
_FREE = ("checkpoint_every", "device")  # settings that change no number, or none that is promised
_SAMPLE = 256  # cells that stand for all the values of a data set
_ADVICE = {
    "model": "load or make it as it was",
    "frozen weights": "pass n_frozen_layers as it was",
    "objective": "pass the same",
    "cells to train on": "pass the same, in the same order",
    "cells to validate on": "pass the same, in the same order",
}


def made_from(
    model: Trainable,
    objective: Objective,
    training: Minibatches,
    validation: Minibatches | None,
    settings: TrainSettings,
) -> dict[str, str]:
    """Say in words what a run depends on; the model is not prepared yet."""
    options = {name: _told(value) for name, value in asdict(settings).items() if name not in _FREE}
    return {
        "model": model.spec.id,
        "frozen weights": f"{sum(param.numel() for param in model.network.parameters() if not param.requires_grad):,}",
        "objective": _told(objective),
        "cells to train on": _data(training),
        "cells to validate on": "none" if validation is None else _data(validation),
        **options,
    }


def find_run(folder: Path, depends: dict[str, str], *, resume: bool) -> tuple[dict[str, str], dict[str, Any] | None]:
    """Return what a run depends on, and its checkpoint where the folder, which is made if absent, holds one.

    Raises
    ------
    InputError
        There is a run, and it is not to be gone on with or was made from something else.
    FileError
        The folder cannot be made, or the checkpoint is damaged.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        msg = f"Cannot make the folder {folder}: {error.strerror or error}. Expected one that may be written to."
        raise FileError(msg) from error
    if not (folder / CHECKPOINT).exists():
        return depends, None
    if not resume:
        msg = f"Found a run in {folder}; expected an empty or absent folder: pass resume=True to go on with that run."
        raise InputError(msg)
    found = read_tensors(folder / CHECKPOINT)
    before, left = found["made_from"], folder / LEFT
    if left.is_file() and left.read_text(encoding="utf-8") == depends["model"]:
        depends = depends | {"model": before["model"]}  # the same object, which the run had begun to train
    require_same(before, depends, folder)
    return depends, found


def leave_run(folder: Path, model_id: str) -> None:
    """Note as what a run that was cut short left its model, and say how to go on."""
    if not (folder / CHECKPOINT).exists():
        return
    step = read_tensors(folder / CHECKPOINT).get("global_step")
    if step is None:  # the run was over
        return
    try:
        (folder / LEFT).write_text(model_id, encoding="utf-8")
    finally:
        say(
            f"stopped; {folder / CHECKPOINT} holds the run up to step {step:,}: with resume=True, or by the same "
            "command, it goes on from there",
            level=logging.WARNING,
        )


def require_same(before: Mapping[str, str], now: Mapping[str, str], folder: Path) -> None:
    """Stop where a run would be gone on with by something else.

    Raises
    ------
    InputError
        Something differs; the message names all of it.
    """
    other = [name for name in now if before.get(name) != now[name]]
    if other:
        told = "; ".join(f"{name} was {before.get(name)} and is {now[name]}" for name in other)
        advice = _ADVICE.get(other[0], f"pass {other[0]} as it was")
        msg = f"The run in {folder} was made otherwise: {told}. To go on with it {advice}, or pass another folder."
        raise InputError(msg)


def _data(minibatches: Minibatches) -> str:
    """Tell data sets apart without reading them as a whole."""
    cells, rows = minibatches.cells, minibatches.rows
    digest = hashlib.sha256(f"{minibatches.batch_size},{minibatches.seed}".encode())
    sample = np.unique(rows[np.linspace(0, len(rows) - 1, min(len(rows), _SAMPLE)).astype(int)])
    read = cells.read(sample, 0)
    arrays = [rows, cells.labels, cells.batches, read.cells, read.tokens.ids, read.tokens.values, read.tokens.lengths]
    for array in arrays:
        digest.update(b"none" if array is None else np.ascontiguousarray(array).tobytes())
    return f"{len(rows):,} cells ({digest.hexdigest()[:12]})"


def _told(value: object) -> str:
    """Describe settings and objectives by what they are made of."""
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray):
        return f"{value.shape} {hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:12]}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_told(one)}" for key, one in sorted(value.items())) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_told, value))}]"
    if type(value).__module__.startswith("scfm_scverse."):
        parts = [f"{name}={_told(one)}" for name, one in vars(value).items() if not name.startswith("_")]
        return f"{type(value).__name__}({', '.join(parts)})"
    return str(value) if isinstance(value, str | int | float | None) else type(value).__name__
