"""One training: which cells are learnt from, what for, how long, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._errors import InputError, TrainingError
from .._logging import say
from ..models import Trainable
from ..training.cells import Cells, Minibatches
from ..training.objectives import freeze_layers
from ..training.settings import TrainSettings
from ..training.split import split_cells
from .answers import class_probabilities
from .objectives import check_classes, make_objective, tells_classes

if TYPE_CHECKING:
    from ..training.objectives import Objective

CELLS_SHOWN = 200_000  # to a network, in a training whose length nobody says
MAX_EPOCHS = 20


@dataclass(frozen=True)
class Trained:
    """What a training leaves beside the model.

    Attributes
    ----------
    table
        One row a step, as :func:`scfm_scverse.training.run.fit` returns it.
    learnt, held
        Cells that were learnt from, and those that were validated on.
    tells_classes
        Whether the network has a head for the classes of the data now.
    """

    table: pd.DataFrame
    learnt: NDArray[np.int64]
    held: NDArray[np.int64]
    tells_classes: bool


def train_cells(
    model: Trainable,
    cells: Cells,
    *,
    settings: dict[str, Any],
    n_classes: int,
    n_batches: int,
    objective: str | Objective = "auto",
    validation_size: float = 0.1,
    groups: pd.Series | None = None,
    class_weights: Literal["balanced"] | None = "balanced",
    n_frozen_layers: int | None = None,
    keeps_head: bool = False,
    names: pd.Index | None = None,
    folder: Path | None = None,
    resume: bool = False,
) -> Trained:
    """Train a model in place.

    Parameters
    ----------
    model, cells
        The model and its cells, with labels and batches where the objective needs them.
    settings
        Fields of :class:`scfm_scverse.training.TrainSettings`; ``max_epochs`` may be ``None``.
    n_classes, n_batches
        How many the data have.
    objective, validation_size, class_weights, n_frozen_layers, folder, resume
        See :meth:`scfm_scverse.FoundationModel.train`.
    groups
        Group of every cell, where groups are validated on as a whole.
    keeps_head
        Whether the network has a head for these classes, to be trained on.
    names
        Of the cells, for the error of a training that cannot go on.
    """
    started = perf_counter()
    if objective == "auto":
        _check_labelled(cells, n_classes)
        objective = "cell_type" if n_classes else "pretraining"
    rows = np.arange(cells.matrix.shape[0])
    if objective == "cell_type" and cells.labels is not None:
        rows = np.flatnonzero(cells.labels >= 0)
    chosen = train_settings(settings, n_cells=len(rows))
    unit = None if groups is None else _numbered(groups.iloc[rows])
    learnt, held = (rows[part] for part in split_cells(len(rows), share=validation_size, groups=unit, seed=chosen.seed))
    if isinstance(objective, str):
        objective = make_objective(
            objective,
            model,
            labels=None if cells.labels is None else cells.labels[learnt],
            n_classes=n_classes,
            n_batches=n_batches,
            class_weights=class_weights,
            seed=chosen.seed,
            keeps_head=keeps_head,
        )
    check_classes(objective, n_classes)
    from ..training.run import fit

    with _frozen(model, n_frozen_layers, chosen), _naming_cells(names):
        table = fit(
            model,
            objective,
            _minibatches(cells, learnt, chosen),
            _minibatches(cells, held, chosen, shuffle=False) if len(held) else None,
            settings=chosen,
            folder=folder,
            resume=resume,
        )
    trained = Trained(table, learnt, held, tells_classes(objective))
    say(_told(model, cells, trained, n_classes, perf_counter() - started, device=chosen.device))
    return trained


def _check_labelled(cells: Cells, n_classes: int) -> None:
    """See that a column of labels, where one was named, holds any."""
    if cells.labels is not None and not n_classes:
        msg = (
            f"The column of labels holds no label in any of the {len(cells.labels):,} cells; expected labels to learn: "
            'name another column, or pass objective="pretraining" to learn without.'
        )
        raise InputError(msg)


def _numbered(groups: pd.Series) -> NDArray[np.integer]:
    """Number the groups of cells; one that is missing may be any of those that are held out."""
    missing = int(groups.isna().sum())
    if missing:
        msg = (
            f"holdout_key={groups.name!r} is missing in {missing:,} cells; expected a group for every cell: leave such "
            "cells out, or give them a name."
        )
        raise InputError(msg)
    return groups.astype("category").cat.codes.to_numpy()


@contextmanager
def _frozen(model: Trainable, n_layers: int | None, settings: TrainSettings) -> Iterator[None]:
    """Freeze layers inside the block, however it ends."""
    if n_layers is not None and settings.lora_rank is not None:
        msg = (
            f"Found n_frozen_layers={n_layers} and lora_rank={settings.lora_rank}, which freezes all layers and trains "
            "beside them; expected one of the two."
        )
        raise InputError(msg)
    try:
        if n_layers is not None:
            freeze_layers(model, n_layers)
        yield
    finally:
        model.network.requires_grad_()


@contextmanager
def _naming_cells(names: pd.Index | None) -> Iterator[None]:
    """Name the cells that a training stopped at."""
    try:
        yield
    except TrainingError as error:
        if names is not None and len(error.cells):
            error.args = (f"{error} The first of them are called {', '.join(map(str, names[error.cells[:8]]))}.",)
        raise


def _minibatches(
    cells: Cells, rows: NDArray[np.int64], settings: TrainSettings, *, shuffle: bool = True
) -> Minibatches:
    return Minibatches(cells, rows, batch_size=settings.batch_size, seed=settings.seed, shuffle=shuffle)


def train_settings(told: dict[str, Any], *, n_cells: int) -> TrainSettings:
    """Return the settings; what is ``None`` and must not be has its default.

    Raises
    ------
    InputError
        There is no such setting.
    """
    known = {field.name: field.default for field in fields(TrainSettings)}
    unknown = sorted(set(told) - set(known))
    if unknown:
        msg = f"Found the argument {unknown[0]!r}; beside those of train there are {', '.join(known)}."
        raise InputError(msg)
    if told.get("max_epochs") is None:
        told = told | {"max_epochs": int(np.clip(round(CELLS_SHOWN / max(1, n_cells)), 1, MAX_EPOCHS))}
    return TrainSettings(**{name: one for name, one in told.items() if one is not None or known[name] is None})


def _told(model: Trainable, cells: Cells, trained: Trained, n_classes: int, seconds: float, *, device: str) -> str:
    table, held = trained.table, trained.held
    told = f"trained {model.spec.name} on {len(trained.learnt):,} cells"
    told += f" of {n_classes} classes" if trained.tells_classes else ""
    told += f", {table['epoch'].max() + 1:.0f} epochs, {seconds / 60:.1f} min"
    if "validation_loss" in table:
        told += f"; validation loss {table['validation_loss'].min():.3g} on {len(held):,} other cells"
    rows = held if cells.labels is None else held[cells.labels[held] >= 0]
    if trained.tells_classes and len(rows) and cells.labels is not None:
        guess = class_probabilities(model, cells, rows, n_classes=n_classes, batch_size=None, device=device)
        right = (guess.argmax(1) == cells.labels[rows]) & np.isfinite(guess[:, 0])
        told += f", {np.mean(right):.1%} of their labels right"
    return told


def continued(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Put the history of one training behind that of another."""
    after = after.assign(epoch=after["epoch"] + before["epoch"].max() + 1)
    after.index = after.index + before.index.max()
    return pd.concat([before, after]).rename_axis("step")


def by_epoch(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Means over the steps of every epoch: a table of one column for each number, as scvi-tools keeps them."""
    means = table.groupby("epoch").mean()
    means.index = means.index.astype(int)
    return {str(name): means[[name]].dropna() for name in means}
