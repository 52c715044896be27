"""Files of torch.save: what is read, what is refused, and that nothing runs or grows."""

from __future__ import annotations

import io
import os
import pickle
import re
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import read_torch
from support import run_python

WEIGHTS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}


def saved(value: Any) -> dict[str, bytes]:
    """Entries of the archive that torch writes."""
    stream = io.BytesIO()
    torch.save(value, stream)
    with zipfile.ZipFile(stream) as file:
        return {name: file.read(name) for name in file.namelist()}


def written(path: Path, entries: Mapping[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    """Write such entries as torch would."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in entries.items():
            file.writestr(name, content)
    return path


def refused(path: Path, message: str) -> None:
    """Reading stops with one line that says this."""
    with pytest.raises(CheckpointError, match=message) as error:
        read_torch(path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(path)) + 400


def same(found: Any, value: Any) -> None:
    """Equal, and of the same types all the way down."""
    assert type(found) is type(value)
    if isinstance(value, torch.Tensor):
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
    elif isinstance(value, dict):
        assert list(found) == list(value)
        for name, one in value.items():
            same(found[name], one)
    elif isinstance(value, list | tuple):
        for one, other in zip(found, value, strict=True):
            same(one, other)
    else:
        assert found == value


def test_what_torch_saves_is_read(tmp_path: Path) -> None:
    linear = torch.nn.Linear(2, 3)
    whole = torch.arange(10.0)
    kinds = [
        torch.float16,
        torch.bfloat16,
        torch.float64,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.uint8,
        torch.bool,
    ]
    value = {
        "state": linear.state_dict(),
        "parameter": linear.weight,
        "views": [whole[2:8].reshape(2, 3).T, whole[::2], whole],
        "kinds": [torch.ones(3).to(kind) for kind in kinds],
        "empty": torch.zeros(0, 3),
        "number": torch.tensor(2.0),
        "losses": [0.5, np.float64(0.25), np.int64(3)],
        "optimizer": torch.optim.Adam(linear.parameters(), betas=(0.9, 0.99)).state_dict(),
        "by name": OrderedDict(a=(1, None, "x"), b={True, 2}),
    }
    path = tmp_path / "my model (é).pt"
    torch.save(value, path)
    same(read_torch(path), value)


@pytest.mark.parametrize(
    "name",
    [
        "scgpt/model/best_model.pt",
        "scfoundation/models.ckpt",
        "scbert/panglao_pretrain.pth",
        "scbert/finetune_best.pth",
    ],
)
def test_checkpoints_of_authors_are_read(shared: Path, name: str) -> None:
    path = shared / "golden" / name
    same(read_torch(path), torch.load(path, weights_only=True))


def test_tensors_stay_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save(WEIGHTS, path)
    with path.open("r+b") as file:
        content = file.read()
        found = read_torch(path)
        file.seek(content.index(WEIGHTS["a"].numpy().tobytes()))
        file.write(np.full(6, 7.0, np.float32).tobytes())
    assert (found["a"] == 7).all()


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_nothing_runs(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({**WEIGHTS, "c": Evil(trace)}, path)
    refused(path, r"asks for (posix|nt)\.mkdir; expected a torch file of tensors")
    assert not trace.exists()
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, r"asks for torch\.nn\.modules\.linear\.Linear")


def test_format_before_torch_1_6_says_how_to_convert(tmp_path: Path) -> None:
    torch.save(WEIGHTS, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    refused(tmp_path / "old.pt", re.escape("torch.save(torch.load(path, weights_only=True), new_path)"))


def test_bare_pickle_is_no_torch_file(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(pickle.dumps({"a": 1}))
    refused(tmp_path / "x.pt", r"does not begin as a file of torch\.save does")


def change(name: str, content: bytes) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """Give an entry another content."""
    return lambda entries: {**entries, f"archive/{name}": content}


def without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    """Leave an entry out."""
    return lambda entries: {one: content for one, content in entries.items() if one != f"archive/{name}"}


BAD_ENTRIES = {
    "no pickle": (without("data.pkl"), "no data.pkl"),
    "no storage": (without("data/0"), "lacks the 24 bytes of its storage '0'"),
    "a storage too short": (change("data/0", b"1234"), "lacks the 24 bytes of its storage '0'"),
    "a storage too long": (change("data/0", b"1" * 100), "lacks the 24 bytes of its storage '0'"),
    "a program": (change("Constants.pkl", b""), "TorchScript"),
    "a storage by two names": (lambda entries: {**entries, "archive/DATA/0": b"1" * 24}, "two entries are called"),
    "another byte order": (change("byteorder", b"middle"), "endianness"),
    "a path upwards": (lambda entries: {**entries, "archive/../../x": b""}, "an entry called 'archive/../../x'"),
    "a path from the root": (lambda entries: {**entries, "/etc/passwd": b""}, "an entry called '/etc/passwd'"),
    "a path of Windows": (lambda entries: {**entries, "archive/C:\\x": b""}, "an entry called 'archive/C:"),
    "two folders": (lambda entries: {**entries, "other/data/0": b"1234"}, "in one folder"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD_ENTRIES)
def test_bad_archive_is_refused(tmp_path: Path, what: str) -> None:
    edit, message = BAD_ENTRIES[what]
    refused(written(tmp_path / "x.pt", edit(saved(WEIGHTS))), message)


def test_good_archive_of_another_writer_is_read(tmp_path: Path) -> None:
    same(read_torch(written(tmp_path / "x.pt", saved(WEIGHTS))), WEIGHTS)


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    refused(written(tmp_path / "x.pt", saved(WEIGHTS), zipfile.ZIP_DEFLATED), "compressed or encrypted")


def test_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    entries = {**saved(WEIGHTS), "archive/dATA.pkl": b"."}
    content = written(tmp_path / "x.pt", entries).read_bytes()
    (tmp_path / "x.pt").write_bytes(content.replace(b"archive/dATA.pkl", b"archive/data.pkl"))
    refused(tmp_path / "x.pt", "two entries are called archive/")


@pytest.mark.parametrize("where", ["before", "behind", "between"])
def test_archive_inside_something_else_is_refused(tmp_path: Path, where: str) -> None:
    content = written(tmp_path / "x.pt", saved(WEIGHTS)).read_bytes()
    at = content.index(b"PK\1\2")
    parts = {"before": (b"PK\3\4more", content), "behind": (content, b"more"), "between": (content[:at], content[at:])}
    (tmp_path / "x.pt").write_bytes((b"" if where != "between" else b"more").join(parts[where]))
    refused(tmp_path / "x.pt", r"no whole file of torch\.save")


def tensor(offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> bytes:
    """Pickle of one tensor in the storage of ``WEIGHTS["a"]``."""

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, one: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 6) if isinstance(one, Storage) else None

    class Tensor:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, shape, stride, False, OrderedDict())

    stream = io.BytesIO()
    Pickler(stream, 2).dump({"a": Tensor()})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("offset", "shape", "stride"),
    [
        (0, (7,), (1,)),
        (1, (6,), (1,)),
        (0, (2, 3), (4, 1)),
        (0, (10**12,), (0,)),
        (0, (10**6, 10**6), (1, 1)),
        (0, (-6,), (1,)),
        (-1, (6,), (1,)),
        (0, (6,), (-1,)),
        (7, (0,), (1,)),
        (0, (2**64,), (1,)),
        (0, (2, 3), (3,)),
        (0, (1,) * 9, (1,) * 9),
    ],
)
def test_tensor_outside_its_storage_is_refused(
    tmp_path: Path, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]
) -> None:
    entries = saved(WEIGHTS)
    path = written(tmp_path / "x.pt", change("data.pkl", tensor(offset, shape, stride))(entries))
    refused(path, "holds a tensor of the shape")
    path = written(tmp_path / "x.pt", change("data.pkl", tensor(0, (3, 2), (1, 3)))(entries))
    assert torch.equal(read_torch(path)["a"], WEIGHTS["a"].T)


_LARGE = """
import resource, struct, sys, zipfile, io
from pathlib import Path
import torch
from scfm_scverse.checkpoints import read_torch, read_safetensors
from safetensors.torch import save_file
folder = Path(FOLDER)
torch.save({"a": torch.ones(2)}, folder / "x.pt")
save_file({"a": torch.ones(2)}, folder / "x.safetensors")
read_torch(folder / "x.pt"), read_safetensors(folder / "x.safetensors")
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 300 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
with zipfile.ZipFile(folder / "zip.pt", "w", zipfile.ZIP_DEFLATED) as file:
    file.writestr("archive/data.pkl", b"]" * 100 * 2**20)
directory = b"PK\\1\\2" + bytes(42)
n = 40 * 2**20 // len(directory)
end = struct.pack("<4s4H2IH", b"PK\\5\\6", 0, 0, 65535, 65535, n * len(directory), 4, 0)
(folder / "list.pt").write_bytes(b"PK\\3\\4" + directory * n + end)
with (folder / "sparse.pt").open("wb") as file:
    file.write(b"PK\\3\\4")
    file.truncate(2**40)
shape = b'{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}'
(folder / "shape.safetensors").write_bytes(struct.pack("<Q", len(shape)) + shape + b"1234")
(folder / "header.safetensors").write_bytes(struct.pack("<Q", 2**62) + shape)
with (folder / "sparse.safetensors").open("wb") as file:
    file.write(struct.pack("<Q", 2**39))
    file.truncate(2**40)
deep = b'{"a":' + b"[" * 10**6
(folder / "deep.safetensors").write_bytes(struct.pack("<Q", len(deep)) + deep)
for file in sorted({*folder.iterdir()} - {folder / "x.pt", folder / "x.safetensors"}):
    try:
        (read_torch if file.suffix == ".pt" else read_safetensors)(file)
    except ValueError as error:
        print(type(error).__name__, file.name)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_files_that_would_grow_stay_small(tmp_path: Path) -> None:
    lines = run_python(f"FOLDER = {str(tmp_path)!r}\n{_LARGE}").splitlines()
    assert len(lines) == 7
    assert all(line.startswith("CheckpointError ") for line in lines)
