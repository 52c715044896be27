"""Short trainings of a small network on small data, and one that is cut short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from scfm_scverse import models
from scfm_scverse.foundation.data import read_cells
from scfm_scverse.models import Trainable
from scfm_scverse.training.cells import Minibatches
from scfm_scverse.training.objectives import CellTypes, Joint
from scfm_scverse.training.settings import TrainSettings
from support import two_types

SMALL: dict[str, Any] = {"max_epochs": 3, "batch_size": 16, "checkpoint_every": 1, "device": "cpu"}


class CutShort(BaseException):
    """Ends a run wherever it is, as nothing in the package catches it."""


class Types(Joint):
    """Two types of cells; ends the run at one of its calls."""

    def __init__(self, ends_at: int | None = None) -> None:
        super().__init__(CellTypes(2))
        self.left = ends_at

    def losses(self, model: Trainable, batch: Any) -> Any:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise CutShort
        return super().losses(model, batch)


class Told(Types):
    """Two types of cells; says through a pipe when it is called."""

    def __init__(self, pipe: Any = None) -> None:
        super().__init__()
        self.pipe = pipe

    def losses(self, model: Trainable, batch: Any) -> Any:
        if self.pipe is not None:
            self.pipe.send("called")
        return super().losses(model, batch)


def new_model(seed: int = 0, dropout: float = 0.1) -> Trainable:
    names = two_types(2).var_names.tolist()
    return models.create("scgpt", names, seed=seed, dim=16, n_layers=1, n_heads=2, dropout=dropout)


def minibatches(model: Trainable, *, n: int = 60, seed: int = 0) -> tuple[Minibatches, Minibatches]:
    """Four minibatches of 16 cells and less to learn from, two to validate on."""
    cells = read_cells(two_types(n + 20), model, labels_key="kind")
    training = Minibatches(cells, np.arange(n), batch_size=16, seed=seed)
    return training, Minibatches(cells, np.arange(n, n + 20), batch_size=16, shuffle=False)


def train(
    folder: Path | None = None,
    *,
    ends_at: int | None = None,
    resume: bool = False,
    validate: bool = True,
    **given: Any,
) -> tuple[Trainable, pd.DataFrame]:
    """Train a new small model; return it and the history."""
    from scfm_scverse.training.run import fit

    model = given.pop("model", None) or new_model()
    training, validation = given.pop("data", None) or minibatches(model)
    objective = given.pop("objective", None) or Types(ends_at)
    settings = TrainSettings(**SMALL | given)
    history = fit(
        model,
        objective,
        training,
        validation if validate else None,
        settings=settings,
        folder=folder,
        resume=resume,
    )
    return model, history


def train_telling(folder: Path, given: dict[str, Any], pipe: Any) -> None:
    """Go on with a run in a folder, with one thread, and say at every call of the objective that it is called."""
    torch.set_num_threads(1)
    train(folder, resume=True, objective=Told(pipe), **given)


def assert_same(one: Trainable, other: Trainable) -> None:
    ours, theirs = one.network.state_dict(), other.network.state_dict()
    assert list(ours) == list(theirs)
    for name, tensor in ours.items():
        np.testing.assert_array_equal(tensor.numpy(), theirs[name].numpy(), err_msg=name)
