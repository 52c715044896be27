"""What TensorBoard shows of a run."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from ..._logging import say
from .history import History

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Board(L.Callback):
    """Write what was measured for TensorBoard, where that is installed."""

    def __init__(self, history: History, folder: Path) -> None:
        self.history, self.folder = history, folder
        self._writer: SummaryWriter | None = None
        self._step = 0

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Open the log; what it holds of steps that are taken again is not shown."""
        self._step = self.history.step
        if trainer.is_global_zero and find_spec("tensorboard"):
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder), purge_step=self._step + 1)

    def on_train_batch_end(self, *_: Any) -> None:
        """Write a step."""
        if self.history.step > self._step:
            self._step = self.history.step
            self._write("train_", "learning_rate")

    def on_validation_end(self, *_: Any) -> None:
        """Write a validation."""
        self._write("validation_")

    def on_train_end(self, *_: Any) -> None:
        """Close the log."""
        self._close()

    def on_exception(self, *_: Any) -> None:
        """Close the log."""
        self._close()

    def _write(self, *beginnings: str) -> None:
        if self._writer is None:
            return
        try:
            for name, value in self.history.last().items():
                if name.startswith(beginnings):
                    self._writer.add_scalar(name, value, self.history.step)
        except OSError as error:
            say(f"the log for TensorBoard ends here ({error}); the training goes on", level=logging.WARNING)
            self._writer = None

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
