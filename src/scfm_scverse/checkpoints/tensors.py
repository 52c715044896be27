"""Files of weights, whichever program wrote them: torch's, safetensors, and safetensors that we made of torch's.

A checkpoint is often a nest of dictionaries. In a file of ours a tensor is named by its keys with "/" between them, and
what is no tensor stands as JSON in the header.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import CheckpointError
from ..io.atomic import replacing
from .archive import read_archive
from .json_files import parse_json
from .opcodes import RefusedError
from .safetensors_files import header_bytes, read_header, read_safetensors
from .torch_files import read_torch

if TYPE_CHECKING:
    import torch

_HEADER = "scfm-checkpoint"


def read_weights(path: Path) -> Any:
    """Return what a checkpoint's file holds: that of torch, or of :func:`write_weights`, or plain safetensors.

    Raises
    ------
    CheckpointError
        The file cannot be read.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> write_weights(file, {"epoch": 3, "state": {"weight": torch.ones(2)}})
    {}
    >>> read_weights(file)
    {'epoch': 3, 'state': {'weight': tensor([1., 1.])}}
    """
    if path.suffix != ".safetensors":
        return read_torch(path)
    about = read_header(path).get(_HEADER)
    tensors = read_safetensors(path)
    if about is None:
        return tensors
    try:
        found = parse_json(about.encode())
        for name, tensor in tensors.items():
            *keys, last = name.split("/")
            inner = found
            for key in keys:
                inner = inner[key]
            inner[last] = tensor
    except (ValueError, KeyError, TypeError, RefusedError) as error:
        msg = f"{path} has a header that does not fit its tensors ({str(error)[:100]}); convert the checkpoint again."
        raise CheckpointError(msg) from error
    return found


def mentions(path: Path, *words: bytes) -> bool:
    """Whether a file of weights names all of these, such as tensors; ``False`` too for a file of another kind."""
    try:
        names = header_bytes(path) if path.suffix == ".safetensors" else read_archive(path).pickle
    except CheckpointError:
        return False
    return all(word in names for word in words)


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a plain state dict, from a file of either format.

    Raises
    ------
    CheckpointError
        The file cannot be read, or holds something else than named tensors.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> torch.save({"weight": torch.ones(2)}, file)
    >>> read_tensors(file)
    {'weight': tensor([1., 1.])}
    """
    import torch

    found = read_weights(path)
    if not isinstance(found, dict) or not all(
        isinstance(name, str) and isinstance(one, torch.Tensor) for name, one in found.items()
    ):
        msg = f"{path} holds a {type(found).__name__} of other things than tensors; expected a plain state dict."
        raise CheckpointError(msg)
    return dict(found)


def write_weights(path: Path, found: dict[str, Any]) -> dict[str, str]:
    """Write a nest of dictionaries as safetensors, whole or not at all; return what was left out -> why.

    Raises
    ------
    CheckpointError
        A key of a dictionary contains a "/".
    """
    from safetensors.torch import save_file

    tensors: dict[str, torch.Tensor] = {}
    left_out: dict[str, str] = {}
    rest = _split(found, (), tensors, left_out)
    with replacing(path) as temporary:
        save_file(_apart(tensors), temporary, metadata={_HEADER: json.dumps(rest)})
    return left_out


def _split(one: Any, keys: tuple[str, ...], tensors: dict[str, torch.Tensor], left_out: dict[str, str]) -> Any:
    """Return what is no tensor; tensors are gathered by their names."""
    import torch

    rest = {}
    for key, value in one.items():
        name = "/".join([*keys, key])
        if "/" in key:
            msg = f"The checkpoint has an entry {name!r}; expected names without '/'."
            raise CheckpointError(msg)
        if isinstance(value, torch.Tensor):
            tensors[name] = value
        elif isinstance(value, dict) and all(isinstance(inner, str) for inner in value):
            rest[key] = _split(value, (*keys, key), tensors, left_out)
        else:
            try:
                rest[key] = as_json(value)
            except TypeError as error:
                left_out[name] = str(error)
    return rest


def as_json(value: Any) -> Any:
    """Return the value in the types of JSON: numbers of NumPy as numbers, arrays, tuples and sets as lists.

    Raises
    ------
    TypeError
        JSON has nothing like it.
    """
    import numpy as np

    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, set | frozenset):
        return sorted((as_json(inner) for inner in value), key=repr)
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and abs(value) < float("inf")):
        return value
    what = (
        "a dictionary whose keys are no text" if isinstance(value, dict) else f"a value of type {type(value).__name__}"
    )
    msg = f"holds {what}, which JSON does not have"
    raise TypeError(msg)


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors that share no memory, as safetensors wants them."""
    seen: set[int] = set()
    out = {}
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage()
        whole = tensor.is_contiguous() and storage.nbytes() == tensor.nbytes and storage.data_ptr() not in seen
        seen.add(storage.data_ptr())
        out[name] = tensor if whole else tensor.contiguous().clone()
    return out
