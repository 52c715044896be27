"""Training a model."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import lightning as L

from ...models.trainable import Trainable
from ..cells import Minibatches
from ..objectives import Objective
from ..settings import TrainSettings
from .history import History
from .plan import TrainingPlan

if TYPE_CHECKING:
    import pandas as pd


def fit(
    model: Trainable,
    objective: Objective,
    training: Minibatches,
    validation: Minibatches | None = None,
    *,
    settings: TrainSettings,
    folder: Path | None = None,
) -> pd.DataFrame:
    """Train a model in place.

    Parameters
    ----------
    model
        The model.
    objective
        What it is trained for.
    training, validation
        Minibatches to learn from, and to measure the loss on.
    settings
        How it is trained.
    folder
        Where checkpoints and logs go; ``None`` keeps none.

    Returns
    -------
    History: one row a step, indexed by ``step``, with ``epoch``, ``train_loss``, ``validation_loss`` and their parts.
    """
    objective.prepare(model)
    history = History()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=settings.max_epochs,
            max_steps=settings.max_steps,
            accumulate_grad_batches=settings.accumulate,
            gradient_clip_val=settings.gradient_clip,
            logger=history,
            log_every_n_steps=1,
            enable_checkpointing=folder is not None,
            enable_model_summary=False,
            enable_progress_bar=False,
            default_root_dir=folder,
            num_sanity_val_steps=0,
        )
        trainer.fit(TrainingPlan(model, objective, settings), training, validation)
    model.network.eval()
    model.renew()
    return history.table()
