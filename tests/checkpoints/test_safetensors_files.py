"""Safetensors files: headers that lie are found before the library reads on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import read_safetensors


def write(path: Path, header: dict[str, Any] | bytes, data: bytes = bytes(24)) -> Path:
    """Write a header, true or not, and the bytes of the tensors."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def one(**changes: Any) -> dict[str, Any]:
    """Header of a tensor of 24 bytes, with some entries changed."""
    return {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24], **changes}}


def test_every_type_is_read(tmp_path: Path) -> None:
    kinds = "bool uint8 int8 int16 float16 bfloat16 int32 float32 int64 float64 uint16 uint32 uint64".split()
    tensors = {kind: torch.ones(3).to(getattr(torch, kind)) for kind in kinds} | {"empty": torch.zeros(0, 5)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    found = read_safetensors(tmp_path / "x.safetensors")
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


def test_true_header_is_read(tmp_path: Path) -> None:
    assert read_safetensors(write(tmp_path / "x.safetensors", one()))["a"].tolist() == [[0, 0, 0], [0, 0, 0]]


two = {"dtype": "F32", "shape": [3], "data_offsets": [12, 24]}
BAD = {
    "another size": (one(shape=[2, 4]), "another size than its shape and type say"),
    "a huge shape": (one(shape=[2**47, 2**47]), "another size"),
    "an endless shape": (one(shape=[10**30]), "no tensor of a known type"),
    "a negative shape": (one(shape=[-2, -3]), "no tensor of a known type"),
    "a shape of other things": (one(shape=[2.0, 3]), "no tensor of a known type"),
    "a shape of truth": (one(shape=[True, 6]), "no tensor of a known type"),
    "no shape": (one(shape=None), "no tensor of a known type"),
    "an unknown type": (one(dtype="F31"), "no tensor of a known type"),
    "one more entry": (one(more=1), "no tensor of a known type"),
    "offsets backwards": (one(data_offsets=[24, 0]), "another size"),
    "offsets beyond the end": (one(shape=[100], data_offsets=[0, 400]), "the tensors have 400 bytes, the file 24"),
    "bytes left over": (one(shape=[3], data_offsets=[0, 12]), "the tensors have 12 bytes, the file 24"),
    "a hole": (one(shape=[3], data_offsets=[12, 24]), "leaves a hole or overlaps"),
    "an overlap": ({**one(shape=[4], data_offsets=[0, 16]), "b": two}, "leaves a hole or overlaps"),
    "the same bytes": ({"a": two, "b": two}, "leaves a hole or overlaps"),
    "metadata of numbers": ({**one(), "__metadata__": {"a": 1}}, "no table of text"),
    "a list": (b"[1, 2]", "its top is a list"),
    "no JSON": (b"{'a': 1}", "in its header"),
    "a name twice": (b'{"a": 1, "a": 2}', "'a' twice"),
    "no text": (b'{"\xff": 1}', "in its header"),
    "a number that is none": (b'{"a": NaN}', "the number NaN"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_header_that_lies_is_refused(tmp_path: Path, what: str) -> None:
    header, message = BAD[what]
    with pytest.raises(CheckpointError, match=message):
        read_safetensors(write(tmp_path / "x.safetensors", header))


@pytest.mark.parametrize("n", [0, 1, 10**6, 2**63, 2**64 - 1])
def test_length_that_lies_is_refused(tmp_path: Path, n: int) -> None:
    path = write(tmp_path / "x.safetensors", one())
    path.write_bytes(n.to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match=f"says that its header has {n:,} bytes"):
        read_safetensors(path)
