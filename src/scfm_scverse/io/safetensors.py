"""Our own weights and references on disk: arrays in safetensors, everything else as JSON in the header."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import CheckpointError
from .atomic import replacing

_HEADER = "scfm"


def save_tensors(path: Path, tensors: dict[str, NDArray[Any]], about: dict[str, Any]) -> None:
    """Write arrays and a JSON-safe description; the file appears whole or not at all."""
    from safetensors.numpy import save

    payload = save(
        {name: np.ascontiguousarray(array) for name, array in tensors.items()},
        metadata={_HEADER: json.dumps(about, sort_keys=True)},
    )
    with replacing(path) as temporary:
        temporary.write_bytes(payload)


def load_tensors(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        msg = f"There is no file {path}; expected a .safetensors file of this package."
        raise CheckpointError(msg)
    try:
        with safe_open(path, framework="np") as file:
            about = json.loads((file.metadata() or {})[_HEADER])
            return {name: file.get_tensor(name) for name in file.keys()}, about  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        msg = f"{path} cannot be read as a .safetensors file of this package ({error}); expected one written by it."
        raise CheckpointError(msg) from error


def hash_tensors(tensors: dict[str, NDArray[Any]]) -> str:
    """First 16 hexadecimal digits of the SHA-256 over names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]
