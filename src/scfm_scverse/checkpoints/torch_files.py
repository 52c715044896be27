"""Files of ``torch.save``: looked through without torch first, then loaded with ``weights_only=True``."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

from .._errors import CheckpointError
from .archive import Archive, read_archive
from .opcodes import Known, Machine, RefusedError
from .plain import PLAIN_NAMES

# Storages -> bytes of an element.
_STORAGES = {
    "ByteStorage": 1, "CharStorage": 1, "BoolStorage": 1, "ShortStorage": 2, "HalfStorage": 2, "BFloat16Storage": 2,
    "IntStorage": 4, "FloatStorage": 4, "LongStorage": 8, "DoubleStorage": 8,
}  # fmt: skip


@dataclass(frozen=True)
class _Storage:
    n: int


@dataclass(frozen=True)
class _Tensor:
    shape: tuple[int, ...]


def read_torch(path: Path) -> Any:
    """Return what ``torch.save`` wrote: containers, text, numbers and tensors, which stay on disk until they are read.

    Before torch sees the file, its archive is checked from end to end and its pickle is worked through without running
    anything: every name must be one that tensors need, every tensor must lie in its storage, every storage in the file.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or holds something else.

    Examples
    --------
    >>> import tempfile, torch
    >>> file = Path(tempfile.mkdtemp()) / "weights.pt"
    >>> torch.save({"weight": torch.ones(2)}, file)
    >>> read_torch(file)
    {'weight': tensor([1., 1.])}
    """
    archive = read_archive(path)
    try:
        Machine(_names(), stored=partial(_stored, archive), plain=(_Tensor,)).run(archive.pickle)
    except RefusedError as error:
        msg = f"{path} {error}; expected a torch file of tensors, such as a state dict."
        raise CheckpointError(msg) from error
    import torch

    try:
        with torch.serialization.safe_globals(_numpy_globals() if b"numpy" in archive.pickle else []):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        msg = f"{path} cannot be read as a torch file of tensors ({str(error).splitlines()[0][:200]})."
        raise CheckpointError(msg) from error


def _names() -> Mapping[str, Callable[[tuple[Any, ...]], Any]]:
    """What the pickle of a torch file may name, and what stands for it in the rehearsal."""
    return {
        **PLAIN_NAMES,
        "torch._utils _rebuild_tensor_v2": _tensor,
        "torch._utils _rebuild_parameter": _parameter,
        **{f"torch {name}": _not_called for name in _STORAGES},
    }


def _stored(archive: Archive, description: Any) -> _Storage:
    match description:
        case ("storage", Known(name=name), str() as key, str(), int() as n) if name.removeprefix("torch ") in _STORAGES:
            expected = n * _STORAGES[name.removeprefix("torch ")]
            if archive.sizes.get(f"data/{key}") != expected:
                msg = f"lacks the {expected:,} bytes of its storage {key[:40]!r}"
                raise RefusedError(msg)
            return _Storage(n)
    msg = "refers to something that is no storage of a tensor"
    raise RefusedError(msg)


def _tensor(arguments: tuple[Any, ...]) -> _Tensor:
    match arguments:
        case (_Storage(n=n), int() as offset, tuple() as shape, tuple() as stride, bool(), dict() as hooks) if (
            not hooks
        ):
            numbers = (offset, *shape, *stride)
            if len(shape) != len(stride) or not all(type(one) is int and one >= 0 for one in numbers):
                msg = f"holds a tensor of the shape {str(shape)[:60]}"
                raise RefusedError(msg)
            last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
            inside = last < n if prod(shape) else offset <= n
            if not inside or prod(shape) > n or len(shape) > 8:
                msg = f"holds a tensor of the shape {str(shape)[:60]} in a storage of {n:,} values"
                raise RefusedError(msg)
            return _Tensor(shape)
    msg = "holds an unusual kind of tensor"
    raise RefusedError(msg)


def _parameter(arguments: tuple[Any, ...]) -> _Tensor:
    match arguments:
        case (_Tensor() as tensor, bool(), dict() as hooks) if not hooks:
            return tensor
    msg = "holds an unusual kind of parameter"
    raise RefusedError(msg)


def _not_called(_: tuple[Any, ...]) -> Any:
    msg = "makes a storage in an unusual way"
    raise RefusedError(msg)


def _numpy_globals() -> list[Any]:
    """What torch needs for NumPy scalars, whose use in the pickle has been checked."""
    import numpy as np

    scalar = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(f"{kind}{size}")) for kind in "iuf" for size in (2, 4, 8)} | {type(np.dtype(np.bool_))}
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *types]
