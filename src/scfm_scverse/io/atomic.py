"""Write so that what stood there stays whole until the new file or folder is complete."""

from __future__ import annotations

import io
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from .._errors import FileError

_TRIES = 40  # of removing a folder, 2 s in all
_SETTLING = 0.2  # seconds in which threads of zarr, after a failure, may begin more files
_KEPT = 2**20  # bytes of a write that is kept after a failure; the tables of HDF5 are far smaller


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path on the same disk, which takes the place of ``path`` if all goes well.

    Raises
    ------
    FileError
        The disk is full, or the folder cannot be written to; what stood at ``path`` is unchanged.
    """
    path = path.resolve()  # through a link, the file that it names
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.stem}."))
        try:
            temporary = folder / path.name
            yield temporary
            _to_disk(temporary)
            _put(temporary, path)
        except BaseException:
            time.sleep(_SETTLING)
            raise
        finally:
            _remove(folder)
    except OSError as error:
        reason = error.args[0][0][-1] if isinstance(error, shutil.Error) else error.strerror or error
        msg = f"Cannot write {path}: {reason}. It is as it was: free space or choose another path."
        raise FileError(msg) from error


def _remove(folder: Path) -> None:
    """Remove a folder; again where threads of zarr, after a failure, still write into it."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
    shutil.rmtree(folder)


@contextmanager
def writable_h5(path: Path, mode: Literal["w", "r+"]) -> Iterator[Any]:
    """Open an HDF5 file for writing, such that a full disk is an OSError and no more."""
    import h5py

    stream = _Stream(path, "w+" if mode == "w" else "r+")
    try:
        with h5py.File(stream, mode) as file:
            yield file
    finally:
        stream.close()
        if stream.failure is not None:
            raise stream.failure


class _Stream(io.FileIO):
    """A file that remembers its first failure and goes on as if there had been none.

    HDF5 takes the whole process down when a write fails. So what is written after a failure is kept in memory, where
    HDF5 finds its own tables again, until the file is closed. Large writes hold values, which nobody reads again.
    """

    failure: OSError | None = None

    def __init__(self, path: Path, mode: str) -> None:
        super().__init__(path, mode)
        self._kept: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> int:
        """Write all of it, or keep it."""
        start, view = self.tell(), memoryview(data).cast("B")
        rest = view
        try:
            while len(rest) and self.failure is None:
                rest = rest[super().write(rest) or 0 :]
        except OSError as failure:
            self.failure = failure
        if self.failure is not None and len(view) <= _KEPT:
            self._kept.append((start, bytes(view)))
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read what was written or kept."""
        start, view = self.tell(), memoryview(buffer).cast("B")
        n = 0
        while n < len(view) and (read := super().readinto(view[n:])):
            n += read
        for position, kept in self._kept:
            lo, hi = max(start, position), min(start + len(view), position + len(kept))
            if lo < hi:
                view[lo - start : hi - start] = kept[lo - position : hi - position]
                n = max(n, hi - start)
        return n

    def truncate(self, size: int | None = None) -> int:
        """Set the length, if it can be set."""
        try:
            return super().truncate(size)
        except OSError as failure:
            self.failure = failure
            return size or 0


def _put(temporary: Path, path: Path) -> None:
    """Move in one step; a folder cannot be replaced by one, so that the old one steps aside first."""
    if path.is_file():
        shutil.copymode(path, temporary)
    old = temporary.with_name("old")
    try:
        if path.is_dir():
            path.replace(old)
        temporary.replace(path)
    finally:
        if old.exists() and not path.exists():
            old.replace(path)


def _to_disk(path: Path) -> None:
    for file in [path, *path.rglob("*")]:
        if file.is_file():
            with file.open("r+b") as stream:
                os.fsync(stream.fileno())
