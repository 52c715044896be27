"""The weights of the best validation, and when to stop looking for better ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning as L

from .files import keep, read_tensors
from .history import History

if TYPE_CHECKING:
    from torch import Tensor


class Best(L.Callback):
    """Keep the weights of the best validation and put them back in the end.

    Parameters
    ----------
    history
        Where the losses are.
    folder
        Where the weights are kept, a file named by its step; ``None`` keeps them in memory.
    patience
        Validations without a better loss after which training stops; ``None`` goes on.
    """

    def __init__(self, history: History, folder: Path | None, patience: int | None) -> None:
        self.history, self.folder, self.patience = history, folder, patience
        self.loss, self.step, self.waited = float("inf"), 0, 0
        self._weights: dict[str, Tensor] = {}

    def on_train_start(self, trainer: L.Trainer, *_: Any) -> None:
        """Stop at once where the run had stopped."""
        self._stop_if_over(trainer)

    def on_validation_end(self, trainer: L.Trainer, plan: L.LightningModule) -> None:
        """Compare the validation with the best one before."""
        loss = self.history.last()["validation_loss"]
        if loss < self.loss:
            self.waited = 0
            if self._keep(trainer, plan):
                self.loss, self.step = loss, trainer.global_step
        else:
            self.waited += 1
        self._stop_if_over(trainer)

    def on_train_end(self, trainer: L.Trainer, plan: L.LightningModule) -> None:
        """Put the best weights back."""
        if self.step not in {0, trainer.global_step}:
            plan.load_state_dict(self._weights if self.folder is None else read_tensors(self._path(self.step)))

    def _stop_if_over(self, trainer: L.Trainer) -> None:
        if self.patience is not None and self.waited >= self.patience:
            trainer.should_stop = True

    def _keep(self, trainer: L.Trainer, plan: L.LightningModule) -> bool:
        weights = plan.state_dict()
        if self.folder is None:
            self._weights = {name: weight.to("cpu", copy=True) for name, weight in weights.items()}
            return True
        if not trainer.is_global_zero:
            return True
        return keep(self._path(trainer.global_step), weights, "the best weights so far")

    def _path(self, step: int) -> Path:
        return (self.folder or Path()) / f"best_{step}.ckpt"

    def forget_others(self) -> None:
        """Remove weights that were the best before; called when no checkpoint speaks of them any more."""
        for path in (self.folder or Path()).glob("best_*.ckpt"):
            if path != self._path(self.step):
                path.unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """Return what the best validation was."""
        return {"loss": self.loss, "step": self.step, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take it back."""
        self.loss, self.step, self.waited = state_dict["loss"], state_dict["step"], state_dict["waited"]
