"""The golden trajectories of low-rank optimizers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="module")
def galore(shared: Path) -> Path:
    return shared / "golden" / "galore"


@pytest.fixture(scope="module")
def inputs(galore: Path) -> dict[str, np.ndarray]:
    return dict(np.load(galore / "inputs.npz"))


@pytest.fixture(scope="module")
def runs(galore: Path) -> list[dict[str, Any]]:
    """Settings of every run, with its arrays under their own names."""
    listed = json.loads((galore / "manifest.json").read_text())
    files = {run["file"]: np.load(galore / run["file"]) for run in listed}
    return [run | {name: files[run["file"]][f"{run['name']}__{name}"] for name in run["arrays"]} for run in listed]
