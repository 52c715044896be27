"""Files of other programs, read without executing anything."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import CheckpointError

if TYPE_CHECKING:
    import torch


def read_torch(path: Path) -> Any:
    """Return what ``torch.save`` wrote: containers, strings, numbers and tensors."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        msg = f"{path} cannot be read as a torch file of tensors ({error})."
        raise CheckpointError(msg.splitlines()[0]) from error


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except SafetensorError as error:
        msg = f"{path} cannot be read as a safetensors file ({error})."
        raise CheckpointError(msg) from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path} cannot be read as JSON ({error})."
        raise CheckpointError(msg) from error
    if not isinstance(found, dict):
        msg = f"{path} holds a {type(found).__name__}; expected an object with named entries."
        raise CheckpointError(msg)
    return found


def read_pickle(path: Path) -> Any:
    """Return what a pickle of containers, strings, numbers and plain arrays holds."""
    raise CheckpointError(str(path))
