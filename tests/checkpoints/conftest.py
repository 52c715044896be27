"""One good file of each kind, small."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scfm_scverse.checkpoints import read_json, read_pickle, read_safetensors, read_torch

READERS: dict[str, Callable[[Path], Any]] = {
    "tokens.pkl": read_pickle,
    "model.pt": read_torch,
    "model.safetensors": read_safetensors,
    "config.json": read_json,
}


def write_good(path: Path) -> None:
    """Write a file that its reader reads; the name tells which."""
    import torch
    from safetensors.torch import save_file

    tensors = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(3, dtype=torch.float64)}
    tokens = {"<pad>": 0, "A": np.int16(3), "names": np.array(["B", "T"]), "median": [np.float64(0.5), {1, 2}]}
    if path.suffix == ".pkl":
        path.write_bytes(pickle.dumps(tokens))
    elif path.suffix == ".pt":
        torch.save({"state": tensors, "epoch": 3, "loss": np.float64(0.5)}, path)
    elif path.suffix == ".safetensors":
        save_file(tensors, path, metadata={"format": "pt"})
    else:
        path.write_text(json.dumps({"layers": 2, "sizes": [1, 2.5], "name": "é"}))


@pytest.fixture(params=list(READERS))
def good(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of each kind that can be read."""
    path = tmp_path / request.param
    write_good(path)
    return path
