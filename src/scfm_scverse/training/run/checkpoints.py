"""When a run is kept on disk, such that it can go on from there."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import lightning as L
import torch

from ..._errors import FileError
from ..._logging import say
from ...io.atomic import replacing
from ..settings import TrainSettings
from .best import Best
from .faults import not_finite
from .files import keep
from .history import History, as_tensors
from .made_from import CHECKPOINT, LEFT

HISTORY = "history.csv"


class Checkpoints(L.Callback):
    """Keep a run: every so many steps, after every epoch, and its result in the end.

    Parameters
    ----------
    folder
        Where ``run.ckpt`` and ``history.csv`` are kept.
    settings
        How often.
    made_from
        What the run depends on, kept beside it.
    history, best
        What else there is to keep.
    """

    def __init__(
        self, folder: Path, settings: TrainSettings, made_from: dict[str, str], history: History, best: Best
    ) -> None:
        self.folder, self.settings, self.made_from = folder, settings, made_from
        self.history, self.best = history, best
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Note where the run goes on."""
        self._step = trainer.global_step

    def on_train_batch_end(self, trainer: L.Trainer, plan: L.LightningModule, *_: Any) -> None:
        """Keep the run within an epoch."""
        due = trainer.global_step % self.settings.checkpoint_every == 0
        if due and trainer.global_step > self._step and not trainer.is_last_batch:
            self._write(trainer, plan)

    def on_train_epoch_end(self, trainer: L.Trainer, plan: L.LightningModule) -> None:
        """Keep the run between two epochs."""
        if trainer.global_step > self._step:
            self._write(trainer, plan)

    def on_save_checkpoint(self, _: Any, __: Any, checkpoint: dict[str, Any]) -> None:
        """Say what the run depends on."""
        checkpoint["made_from"] = self.made_from

    def on_train_end(self, trainer: L.Trainer, plan: Any) -> None:
        """Keep the result in place of the run."""
        if not trainer.is_global_zero:
            return
        history = as_tensors(self.history.table())
        result = {"made_from": self.made_from, "result": plan.network.state_dict(), "history": history}
        if keep(self.folder / CHECKPOINT, result, "the result of the training"):
            self.best.step = 0
            self.best.forget_others()
            (self.folder / LEFT).unlink(missing_ok=True)
        self._write_history()

    def _write(self, trainer: L.Trainer, plan: L.LightningModule) -> None:
        self._step = trainer.global_step
        if not all(bool(torch.isfinite(weight).all()) for weight in plan.parameters()):
            raise not_finite(self._step, [], self.settings, what="a weight")
        trainer.save_checkpoint(self.folder / CHECKPOINT)
        if trainer.is_global_zero:
            self.best.forget_others()
            self._write_history()

    def _write_history(self) -> None:
        try:
            with replacing(self.folder / HISTORY) as path:
                self.history.table().to_csv(path)
        except FileError as error:
            say(f"the history is not up to date; the training goes on. {error}", level=logging.WARNING)
