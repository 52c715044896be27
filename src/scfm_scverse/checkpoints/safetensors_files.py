"""Safetensors files of other programs: the header is checked before the library sees it."""

from __future__ import annotations

import os
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import CheckpointError
from .files import open_file
from .json_files import parse_json
from .opcodes import RefusedError

if TYPE_CHECKING:
    import torch

MOST_HEADER = 32 * 2**20
# Types -> bytes of an element.
_DTYPES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "U16": 2, "I16": 2, "F16": 2, "BF16": 2, "U32": 4,
    "I32": 4, "F32": 4, "U64": 8, "I64": 8, "F64": 8,
}  # fmt: skip


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a safetensors file, which stay on disk until they are read.

    The tensors must fill the file one after the other, each with as many bytes as its shape and type say.

    Raises
    ------
    CheckpointError
        The file is missing, damaged, or its header does not tell the truth.

    Examples
    --------
    >>> import tempfile, torch
    >>> from safetensors.torch import save_file
    >>> file = Path(tempfile.mkdtemp()) / "model.safetensors"
    >>> save_file({"weight": torch.ones(2)}, file)
    >>> read_safetensors(file)
    {'weight': tensor([1., 1.])}
    """
    read_header(path)
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, RuntimeError) as error:
        msg = f"{path} cannot be read as a safetensors file ({error})."
        raise CheckpointError(msg) from error


def read_header(path: Path) -> dict[str, str]:
    """Check the header of a safetensors file and return the metadata in it.

    Raises
    ------
    CheckpointError
        The header does not tell the truth.
    """
    data = header_bytes(path)
    try:
        return _check_tensors(parse_json(data), path.stat().st_size - 8 - len(data))
    except (ValueError, RefusedError) as error:
        what = " ".join(str(error).split())[:200]
        msg = f"{path} is no whole safetensors file (in its header, {what}); download it again."
        raise CheckpointError(msg) from error


def header_bytes(path: Path) -> bytes:
    """Return the header of a safetensors file as it stands there.

    Raises
    ------
    CheckpointError
        It is longer than the file, or than 32 MB.
    """
    with open_file(path) as stream:
        n_file = os.fstat(stream.fileno()).st_size
        n_header = int.from_bytes(stream.read(8), "little")
        if not 2 <= n_header <= min(n_file - 8, MOST_HEADER):
            msg = (
                f"{path} is no whole safetensors file: it says that its header has {n_header:,} bytes, of {n_file:,} "
                "in all; download it again."
            )
            raise CheckpointError(msg)
        return stream.read(n_header)


def _check_tensors(header: dict[str, Any], n_data: int) -> dict[str, str]:
    about = header.pop("__metadata__", {})
    if not isinstance(about, dict) or not all(isinstance(value, str) for value in about.values()):
        msg = "the metadata is no table of text"
        raise ValueError(msg)
    end = 0
    for start, stop, name in sorted((*_span(name, one), name) for name, one in header.items()):
        if start != end:
            msg = f"the tensor {name[:80]!r} leaves a hole or overlaps another"
            raise ValueError(msg)
        end = stop
    if end != n_data:
        msg = f"the tensors have {end:,} bytes, the file {n_data:,}"
        raise ValueError(msg)
    return about


def _span(name: str, one: Any) -> tuple[int, int]:
    """First byte of a tensor and the one behind it."""
    match one:
        case {"dtype": str() as dtype, "shape": list() as shape, "data_offsets": [int() as start, int() as stop]} if (
            len(one) == 3 and dtype in _DTYPES and all(type(n) is int and 0 <= n < 2**48 for n in (*shape, start, stop))
        ):
            if len(shape) <= 8 and prod(shape) * _DTYPES[dtype] == stop - start:
                return start, stop
            msg = f"the tensor {name[:80]!r} has another size than its shape and type say"
            raise ValueError(msg)
    msg = f"{name[:80]!r} is described as no tensor of a known type"
    raise ValueError(msg)
