"""Files of other programs: whether there is one at all, and its bytes."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from .._errors import CheckpointError

_LFS = b"version https://git-lfs"


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading; pipes and devices are never waited for.

    Raises
    ------
    CheckpointError
        There is none, it is empty, may not be read, or only stands for a file that Git LFS would fetch.
    """
    try:
        # A pipe without a writer would be waited for: O_NONBLOCK opens it at once, and it is refused below.
        stream = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        msg = f"{path} cannot be read ({reason}); expected a file of a checkpoint."
        raise CheckpointError(msg) from error
    if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        stream.close()
        msg = f"{path} is no regular file; expected a file of a checkpoint."
        raise CheckpointError(msg)
    try:
        _check_start(path, stream)
    except CheckpointError:
        stream.close()
        raise
    return stream


def _check_start(path: Path, stream: BinaryIO) -> None:
    start = stream.read(len(_LFS))
    stream.seek(0)
    if not start:
        msg = f"{path} is empty; download it again."
        raise CheckpointError(msg)
    if start == _LFS:
        msg = f"{path} is a Git LFS pointer and not the file itself; run `git lfs pull` in its folder."
        raise CheckpointError(msg)


def read_bytes(path: Path, *, most: int) -> bytes:
    """Return the content of a small file.

    Raises
    ------
    CheckpointError
        There is none, or it has more than ``most`` bytes.
    """
    with open_file(path) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        msg = f"{path} is larger than {most / 2**20:.0f} MB, the most that is read of such a file."
        raise CheckpointError(msg)
    return data


def check_links(folder: Path) -> None:
    """Stop where a file of a checkpoint's folder is a link to somewhere else.

    A folder that came from elsewhere could otherwise name any file of this computer. Links inside the folder are
    fine, and those that Hugging Face's download cache makes: ``snapshots/<revision>/name`` to ``blobs/<hash>``.

    Raises
    ------
    CheckpointError
        A link leads out of the folder.
    """
    root = folder.resolve()
    for file in root.iterdir():
        target = file.resolve()
        if not file.is_symlink() or target.is_relative_to(root):
            continue
        cache = target.parent.parent
        if target.parent.name != "blobs" or not root.is_relative_to(cache / "snapshots"):
            msg = f"{folder / file.name} is a link to {target}, outside its folder; expected the file itself: copy it."
            raise CheckpointError(msg)
