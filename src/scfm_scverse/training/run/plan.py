"""What Lightning does with a network, an objective and settings."""

from __future__ import annotations

from math import ceil
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_

from ...models.trainable import Trainable
from ..batch import Batch
from ..cells import Minibatches
from ..galore import GaLoreAdamW
from ..objectives import Objective
from ..optimizers import make_optimizer, rate
from ..settings import TrainSettings
from .faults import not_finite


class TrainingPlan(L.LightningModule):
    """Steps of an objective on a model; each returns its parts of the loss under ``"told"``.

    Parameters
    ----------
    model, objective, settings
        What is trained, for what and how.
    training
        Minibatches to learn from.
    """

    def __init__(self, model: Trainable, objective: Objective, settings: TrainSettings, training: Minibatches) -> None:
        super().__init__()
        self.model, self.objective, self.settings, self.training_cells = model, objective, settings, training
        self.network = model.network  # where Lightning finds the parameters
        self.learning_rate = 0.0  # of the step that was taken last
        self._seen: list[Batch] = []  # whose gradients make the next step

    def on_fit_start(self) -> None:
        """Train all layers: a network that has been used before is in evaluation mode."""
        self.network.train()

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Return the loss of a minibatch."""
        # Dropout depends on the step alone, so that a run that was cut short goes on as it would have.
        seed = (self.settings.seed * 1_000_003 + self.current_epoch) * 1_000_003 + batch_idx
        torch.manual_seed(seed * 1_009 + self.global_rank)
        self._seen.append(batch)
        told = self._told(batch)
        return {"loss": sum(told.values()), "told": {name: part.detach() for name, part in told.items()}}

    def on_train_batch_end(self, *_: Any) -> None:
        """Stop after the last step; Lightning validates then, also within an epoch."""
        if self.global_step == self.settings.max_steps:
            self.trainer.should_stop = True

    def validation_step(self, batch: Batch, _: int) -> dict[str, Tensor]:
        """Return the parts of the loss of a minibatch."""
        return self._told(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep where the minibatches stand; Lightning puts them back only within an epoch."""
        checkpoint["minibatches"] = self.training_cells.state_dict()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put the minibatches back."""
        self.training_cells.load_state_dict(checkpoint["minibatches"])

    def transfer_batch_to_device(self, batch: Batch, *_: Any) -> Batch:
        """Leave tokens where they are: the model takes of them what it needs."""
        return batch

    def _told(self, batch: Batch) -> dict[str, Tensor]:
        parts = self.objective.losses(self.model, batch)
        strange = [name for name, part in parts.items() if not bool(part.isfinite())]
        # All processes stop together: those that wait for one that has stopped would wait for ever.
        if not self.trainer.strategy.reduce_boolean_decision(not strange):
            what = f"the loss ({', '.join(strange)})" if strange else "the loss in another process"
            raise not_finite(self.global_step + 1, [batch] if strange else [], self.settings, what=what)
        return parts

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and a learning rate that rises and falls with the steps."""
        optimizer = make_optimizer(self.network, self.settings)
        total, warmup = count_steps(len(self.training_cells), self.settings), self.settings.warmup
        steps = round(warmup * total) if warmup < 1 else int(warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(step, warmup=max(1, steps), total=total)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,  # noqa: ARG002 (Lightning names it)
    ) -> None:
        """Clip by what stands for the gradients, some of which are projected already, and see whether it is finite."""
        inner = getattr(optimizer, "optimizer", optimizer)
        self.learning_rate = inner.param_groups[0]["lr"]
        seen, self._seen = self._seen, []
        if gradient_clip_val is None and self.settings.optimizer_kwargs.get("in_backward") == "update":
            return  # there are no gradients any more
        largest = float("inf") if gradient_clip_val is None else gradient_clip_val
        if isinstance(inner, GaLoreAdamW):
            norm = inner.clip_grad_norm_(largest)
        else:
            norm = clip_grad_norm_(self.network.parameters(), largest)
        if not bool(norm.isfinite()):
            raise not_finite(self.global_step + 1, seen, self.settings, what="the gradient of the loss")


def count_steps(n_minibatches: int, settings: TrainSettings) -> int:
    """Steps of a whole training, for so many minibatches in an epoch."""
    limits = (settings.max_epochs * ceil(n_minibatches / settings.accumulate), settings.max_steps)
    return min(limit for limit in limits if limit > 0)
