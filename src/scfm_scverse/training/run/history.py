"""What was measured, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import lightning as L
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..batch import Batch

Row = dict[str, float]


class History(L.Callback):
    """Keep the parts of the loss of every step and every validation, as means over cells and processes.

    Parameters
    ----------
    advance
        Is told of every step, and how many there were before this run.
    """

    def __init__(self, advance: Callable[[int], object]) -> None:
        self.advance = advance
        self.step = 0
        self._rows: dict[int, Row] = {}
        self._waiting: list[dict[str, Tensor]] = []
        self._cells: list[int] = []

    def on_train_start(self, *_: Any) -> None:
        """Show where the run stands."""
        self.advance(self.step)

    def on_train_batch_end(self, trainer: L.Trainer, plan: Any, outputs: Any, batch: Batch, *_: Any) -> None:
        """Take in a minibatch; the last one of a step makes a row."""
        self._take(outputs["told"], batch)
        if trainer.global_step == self.step:
            return
        self.step = trainer.global_step
        row = {"epoch": float(trainer.current_epoch), "learning_rate": plan.learning_rate}
        self._rows[self.step] = row | self._mean(trainer, "train")
        self.advance(1)

    def on_validation_batch_end(self, _: Any, __: Any, outputs: Any, batch: Batch, *___: Any) -> None:
        """Take in a minibatch."""
        self._take(outputs, batch)

    def on_validation_epoch_end(self, trainer: L.Trainer, *_: Any) -> None:
        """Put the means beside the last step."""
        self._rows[self.step] |= self._mean(trainer, "validation")

    def _take(self, told: dict[str, Tensor], batch: Batch) -> None:
        self._waiting.append(told)
        self._cells.append(0 if batch.stands_in else len(batch))

    def _mean(self, trainer: L.Trainer, stage: str) -> Row:
        """Return the mean of the waiting parts, and of their sum."""
        names = list(self._waiting[0])
        parts = torch.stack([torch.stack([told[name].detach().double() for name in names]) for told in self._waiting])
        cells = torch.tensor(self._cells, dtype=parts.dtype, device=parts.device)
        self._waiting, self._cells = [], []
        # Of a minibatch, each process has its share of the mean, whatever its share of the cells.
        parts = trainer.strategy.reduce(parts, reduce_op="mean")
        cells = trainer.strategy.reduce(cells, reduce_op="sum")
        means = (cells @ parts / cells.sum().clamp(min=1)).tolist()
        found = {f"{stage}_loss": sum(means)}
        return found | ({f"{stage}_{name}": mean for name, mean in zip(names, means, strict=True)} if names[1:] else {})

    def last(self) -> Row:
        """Return what was measured at the last step."""
        return self._rows[self.step]

    def table(self) -> pd.DataFrame:
        """One row a step, from 1."""
        frame = pd.DataFrame.from_dict(self._rows, orient="index")
        frame.index.name = "step"
        return frame.astype({"epoch": int}) if len(frame) else frame

    def state_dict(self) -> dict[str, Any]:
        """Return all rows as tensors."""
        return as_tensors(self.table())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take rows back."""
        table = as_table(state_dict)
        self._rows = {
            int(step): {str(name): value for name, value in row.items() if not np.isnan(value)}
            for step, row in zip(table.index, table.astype(float).to_dict("records"), strict=True)
        }
        self.step = max(self._rows, default=0)


def as_tensors(table: pd.DataFrame) -> dict[str, Any]:
    """Return a history as a file of tensors holds it."""
    columns = {str(name): torch.from_numpy(table[name].to_numpy(np.float64).copy()) for name in table}
    return {"step": torch.from_numpy(table.index.to_numpy(np.int64).copy()), "columns": columns}


def as_table(tensors: dict[str, Any]) -> pd.DataFrame:
    """Return a history from such tensors."""
    index = pd.Index(tensors["step"].numpy(), name="step")
    frame = pd.DataFrame({name: values.numpy() for name, values in tensors["columns"].items()}, index=index)
    return frame.astype({"epoch": int}) if len(frame) else frame
