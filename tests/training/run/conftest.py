"""Runs of a small network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from scfm_scverse.models import Trainable
from scfm_scverse.training.settings import TrainSettings
from short_runs import SMALL, Types, minibatches, new_model

Run = Callable[..., tuple[Trainable, pd.DataFrame]]


@pytest.fixture
def run() -> Run:
    """Train a new small model; gives it and the history."""
    from scfm_scverse.training.run import fit

    def run(
        folder: Path | None = None,
        *,
        ends_at: int | None = None,
        resume: bool = False,
        validate: bool = True,
        **given: Any,
    ) -> tuple[Trainable, pd.DataFrame]:
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

    return run
