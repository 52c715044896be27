"""Files of tensors, numbers and text, and nothing that is executed when they are read."""

from __future__ import annotations

import logging
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO

from ..._errors import FileError
from ..._logging import say
from ...io.atomic import replacing


class _Stream:
    """A file that remembers its first failure: torch makes other errors of it, which tell less."""

    def __init__(self, path: Path) -> None:
        self.file, self.failure = path.open("wb"), None

    failure: OSError | None

    def write(self, data: Any) -> int:
        """Write, as long as the disk takes it."""
        try:
            if self.failure is None:
                self.file.write(data)
        except OSError as failure:
            self.failure = failure
        return len(data)

    def flush(self) -> None:
        """Nothing: closing does it."""

    def close(self) -> None:
        """Close, and raise what went wrong."""
        try:
            self.file.close()
        except OSError as failure:
            self.failure = self.failure or failure
        if self.failure is not None:
            raise self.failure


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a file; what stood at ``path`` stays whole until the new one is complete.

    Raises
    ------
    FileError
        The disk is full, or the folder cannot be written to.
    """
    with replacing(path) as temporary:
        stream = _Stream(temporary)
        try:
            torch.save(content, stream)  # type: ignore[arg-type]
        finally:
            stream.close()


def read_tensors(path: Path) -> dict[str, Any]:
    """Read such a file; tensors come into memory when they are looked at.

    Raises
    ------
    FileError
        It is damaged.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, RuntimeError, UnpicklingError, EOFError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:160]
        msg = f"Cannot read {path}: {reason}. Expected a checkpoint of a training: remove it to start anew."
        raise FileError(msg) from error
    return content


class TensorsOnly(CheckpointIO):
    """Checkpoints of Lightning as such files; where the disk refuses one, the training goes on."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:  # noqa: ARG002
        """Write, or say that it was not possible."""
        # Of processes that end, Lightning hands over the weights through a file, too.
        step = checkpoint.get("global_step")
        keep(Path(path), checkpoint, "the weights" if step is None else f"the checkpoint of step {step:,}")

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read."""
        return read_tensors(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove."""
        Path(path).unlink(missing_ok=True)


def keep(path: Path, content: dict[str, Any], what: str) -> bool:
    """Write a file, or say that it was not possible and return False."""
    try:
        write_tensors(path, content)
    except FileError as error:
        before = "the one before is whole" if path.exists() else "there is none before it"
        say(f"{what} could not be kept, {before}; the training goes on. {error}", level=logging.WARNING)
        return False
    return True
