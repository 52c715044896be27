"""The zip archive that a torch file is: checked from end to end before anything else reads it."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NoReturn

from .._errors import CheckpointError
from .files import open_file

MOST_DIRECTORY = 32 * 2**20  # bytes of the list of entries: 300,000 tensors
MOST_PICKLE = 32 * 2**20
_LOCAL, _CENTRAL = struct.Struct("<4sHHHHHIIIHH"), struct.Struct("<4s6H3I5H2I")
_END, _END64, _LOCATOR = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
_MAX16, _MAX32 = 0xFFFF, 0xFFFFFFFF
_LEGACY = (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", b"././@PaxHeader", b"storages")


class _DamagedError(Exception):
    """What is wrong with an archive."""


@dataclass(frozen=True)
class Archive:
    """What a torch file holds: its pickle, and the size in bytes of every entry, by the names in the file's folder."""

    pickle: bytes
    sizes: dict[str, int]


def read_archive(path: Path) -> Archive:
    """Check the archive of a torch file and return its pickle.

    Entries must be stored as they are, one after the other, each under a name of its own in one folder, so that
    nothing grows when it is read and every reader sees the same.

    Raises
    ------
    CheckpointError
        The file is none of ``torch.save``, or damaged.
    """
    with open_file(path) as stream:
        start = stream.read(16)
        if start.startswith(_LEGACY):
            msg = (
                f"{path} was written in the format of torch before 1.6, which is not read; convert it where it came "
                "from: torch.save(torch.load(path, weights_only=True), new_path)."
            )
            raise CheckpointError(msg)
        if not start.startswith(b"PK\x03\x04"):
            msg = f"{path} does not begin as a file of torch.save does; download it again."
            raise CheckpointError(msg)
        try:
            return _read(stream)
        except (_DamagedError, struct.error, UnicodeDecodeError, OSError) as error:
            msg = f"{path} is no whole file of torch.save ({error}); download it again."
            raise CheckpointError(msg) from error


def _read(stream: BinaryIO) -> Archive:
    directory, n_entries, position = _directory(stream)
    places: dict[str, tuple[int, int]] = {}
    seen: set[str] = set()
    at = end = 0
    for _ in range(n_entries):
        name, start, size, at = _entry(directory, at)
        if name.lower() in seen:  # torch finds entries whatever the case of their letters
            _stop(f"two entries are called {name[:80]}")
        if start < end:
            _stop("entries overlap")
        data = _data_start(stream, start, name)
        end = data + size
        places[name] = (data, size)
        seen.add(name.lower())
    if at != len(directory) or end > position:
        _stop("the list of entries does not fit them")
    folders = {name.split("/", 1)[0] for name in places}
    inner = {name.partition("/")[2]: place for name, place in places.items()}
    if len(folders) != 1 or "data.pkl" not in inner:
        _stop("it has no data.pkl in one folder")
    if any(name.lower() == "constants.pkl" for name in inner):
        _stop("it is a program of TorchScript")
    start, size = inner["data.pkl"]
    if size > MOST_PICKLE:
        _stop(f"its data.pkl has {size:,} bytes")
    return Archive(_bytes(stream, start, size), {name: size for name, (_, size) in inner.items()})


def _directory(stream: BinaryIO) -> tuple[bytes, int, int]:
    """The list of entries, how many there are, and where the list begins."""
    at = os.fstat(stream.fileno()).st_size - _END.size
    sign, *_, n_entries, size, position, comment = _END.unpack(_bytes(stream, at, _END.size))
    if sign != b"PK\x05\x06" or comment:
        _stop("its end is missing")
    # torch writes the end for large files always and the small one after it, with or without numbers.
    sign64, _, end64, _ = _LOCATOR.unpack(_bytes(stream, at - _LOCATOR.size, _LOCATOR.size))
    if sign64 == b"PK\x06\x07":
        if end64 != at - _LOCATOR.size - _END64.size:
            _stop("its end does not fit")
        at = end64
        found = _END64.unpack(_bytes(stream, at, _END64.size))
        small = (n_entries, size, position)
        n_entries, size, position = found[-3:]
        same = all(a in (b, most) for a, b, most in zip(small, found[-3:], (_MAX16, _MAX32, _MAX32), strict=True))
        if found[0] != b"PK\x06\x06" or not same:
            _stop("its two ends disagree")
    if size > MOST_DIRECTORY or position + size != at:
        _stop("the list of its entries is not where it should be")
    return _bytes(stream, position, size), n_entries, position


def _entry(directory: bytes, at: int) -> tuple[str, int, int, int]:
    """Name, place and size of the entry listed at ``at``, and where the next one is listed."""
    sign, _, _, flags, method, _, _, _, packed, size, n_name, n_extra, n_comment, _, _, _, start = _CENTRAL.unpack_from(
        directory, at
    )
    at += _CENTRAL.size
    raw, extra = directory[at : at + n_name], directory[at + n_name : at + n_name + n_extra]
    if sign != b"PK\x01\x02" or len(raw) < n_name:
        _stop("an entry is missing")
    name = raw.decode()
    parts = name.split("/")
    if not name.isprintable() or "\\" in name or len(parts) < 2 or not {"", ".", ".."}.isdisjoint(parts):
        _stop(f"it has an entry called {name[:80]!r}")
    if method or flags & 1:
        _stop(f"the entry {name[:80]} is compressed or encrypted")
    if _MAX32 in (size, packed, start):
        size, packed, start = _large(extra, size, packed, start)
    if size != packed:
        _stop(f"the entry {name[:80]} has two sizes")
    return name, start, size, at + n_name + n_extra + n_comment


def _large(extra: bytes, *numbers: int) -> list[int]:
    """Size, packed size and place of a large entry: those that need 64 bits follow one another in its extra field."""
    kind, length = struct.unpack_from("<2H", extra)
    n_large = numbers.count(_MAX32)
    if kind != 1 or length < 8 * n_large:
        _stop("a large entry has no size")
    large = iter(struct.unpack_from(f"<{n_large}Q", extra, 4))
    return [next(large) if number == _MAX32 else number for number in numbers]


def _data_start(stream: BinaryIO, start: int, name: str) -> int:
    """Where the bytes of an entry begin, behind its own header, which must tell the same as the list."""
    sign, _, flags, method, *_, n_name, n_extra = _LOCAL.unpack(_bytes(stream, start, _LOCAL.size))
    begin = start + _LOCAL.size
    if sign != b"PK\x03\x04" or method or flags & 1 or _bytes(stream, begin, n_name) != name.encode():
        _stop(f"the entry {name[:80]} is not where it should be")
    return begin + int(n_name) + int(n_extra)


def _bytes(stream: BinaryIO, start: int, n: int) -> bytes:
    if start < 0:
        _stop("it is too short")
    stream.seek(start)
    found = stream.read(n)
    if len(found) != n:
        _stop("it is too short")
    return found


def _stop(why: str) -> NoReturn:
    raise _DamagedError(why)
