"""What was logged, step by step."""

from __future__ import annotations

from typing import Any

import pandas as pd
from lightning.pytorch.loggers.logger import DummyLogger


class History(DummyLogger):
    """Keep everything that a plan logs, in memory."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[int, dict[str, float]] = {}

    def log_metrics(self, metrics: dict[str, float], step: int | None = None, *_: Any, **__: Any) -> None:
        """Keep numbers of a step."""
        self._rows.setdefault(step or 0, {}).update(metrics)

    def table(self) -> pd.DataFrame:
        """One row a step."""
        frame = pd.DataFrame.from_dict(self._rows, orient="index")
        frame.index.name = "step"
        return frame.sort_index()
