"""Runs of a small network."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from scfm_scverse.models import Trainable
from short_runs import train

Run = Callable[..., tuple[Trainable, pd.DataFrame]]


@pytest.fixture
def run() -> Run:
    """Train a new small model; gives it and the history."""
    return train
