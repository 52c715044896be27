"""What Lightning does with a network, an objective and settings."""

from __future__ import annotations

from typing import Any, cast

import lightning as L
import torch
from torch import Tensor

from ...models.trainable import Trainable
from ..batch import Batch
from ..galore import GaLoreAdamW
from ..objectives import Objective
from ..optimizers import make_optimizer, rate
from ..settings import TrainSettings


class TrainingPlan(L.LightningModule):
    """Steps of an objective on a model, logged as ``train_loss``, ``validation_loss`` and the parts of both."""

    def __init__(self, model: Trainable, objective: Objective, settings: TrainSettings) -> None:
        super().__init__()
        self.model, self.objective, self.settings = model, objective, settings
        self.network = model.network  # where Lightning finds the parameters

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a minibatch."""
        # Dropout depends on the step alone, so that a run that was cut short goes on as it would have.
        torch.manual_seed((self.settings.seed * 1_000_003 + self.current_epoch) * 1_000_003 + batch_idx)
        return self._loss(batch, "train")

    def validation_step(self, batch: Batch, _: int) -> None:
        """Log the loss of a minibatch."""
        self._loss(batch, "validation")

    def transfer_batch_to_device(self, batch: Batch, *_: Any) -> Batch:
        """Leave tokens where they are: the model takes of them what it needs."""
        return batch

    def _loss(self, batch: Batch, stage: str) -> Tensor:
        parts = self.objective.losses(self.model, batch)
        loss = cast(Tensor, sum(parts.values()))
        told = {f"{stage}_loss": loss.detach()}
        if len(parts) > 1:
            told |= {f"{stage}_{name}": part.detach() for name, part in parts.items()}
        self.log_dict(told, on_step=stage == "train", on_epoch=stage != "train", batch_size=len(batch))
        return loss

    def configure_optimizers(self) -> Any:
        """Make the optimizer, and a learning rate that rises and falls with the steps."""
        optimizer = make_optimizer(self.network, self.settings)
        total = int(self.trainer.estimated_stepping_batches)
        warmup = self.settings.warmup
        steps = round(warmup * total) if warmup < 1 else int(warmup)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rate(step, warmup=max(1, steps), total=total)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by what stands for the gradients, some of which are projected already."""
        if gradient_clip_val is None:
            return
        inner = getattr(optimizer, "optimizer", optimizer)
        if isinstance(inner, GaLoreAdamW):
            inner.clip_grad_norm_(gradient_clip_val)
        else:
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm or "norm")
