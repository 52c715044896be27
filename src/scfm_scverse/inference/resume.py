"""Embeddings of finished cells on disk, so that work that was cut short goes on where it stopped."""

from __future__ import annotations

import io
import json
import logging
import shutil
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import FileError
from .._logging import say

_ABOUT, _ROWS = "made_from.json", "rows.npy"


class Partial:
    """A folder of finished rows, and of what they were made from.

    Each minibatch is one more entry at the end of a file. What was written survives the end of the process, however it
    ends; an entry that was cut off is thrown away.

    Parameters
    ----------
    folder
        Where the rows are kept; made if absent.
    made_from
        What the rows depend on: model, options, data. Rows made from anything else are thrown away.
    n_cells
        Number of cells.
    what
        What a row is of, for the message that some were found.

    Attributes
    ----------
    done
        bool [n]: cells whose rows were found.
    rows
        float32 [n, d]: what was found, NaN for the other cells; ``None`` if nothing was.
    """

    def __init__(self, folder: Path, made_from: dict[str, Any], n_cells: int, *, what: str = "cells") -> None:
        self.folder, self.what = folder, what
        self.done: NDArray[np.bool_] = np.zeros(n_cells, bool)
        self.rows: NDArray[np.float32] | None = None
        about, wanted = folder / _ABOUT, json.dumps(made_from, sort_keys=True)
        if folder.exists():
            _require_ours(folder)
            if about.is_file() and about.read_text(encoding="utf-8") == wanted and (folder / _ROWS).is_file():
                self._read()
            else:
                shutil.rmtree(folder)
        self._kept = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            about.write_text(wanted, encoding="utf-8")
        except OSError as error:
            self._give_up(error)

    def _read(self) -> None:
        with (self.folder / _ROWS).open("r+b") as file:
            whole = 0
            while (entry := _next_entry(file)) is not None:
                cells, rows = entry
                if self.rows is None:
                    self.rows = np.full((len(self.done), rows.shape[1]), np.nan, np.float32)
                self.rows[cells], self.done[cells] = rows, True
                whole = file.tell()
            file.truncate(whole)
        n, of = int(self.done.sum()), len(self.done)
        say(f"{n:,} of {of:,} {self.what} were finished before; going on with the others")

    def add(self, cells: NDArray[np.int64], rows: NDArray[np.float32]) -> None:
        """Keep the rows of finished cells; where the disk refuses, the work goes on without."""
        if not self._kept:
            return
        entry = io.BytesIO()
        for array in (cells, rows):
            np.save(entry, array, allow_pickle=False)
        try:
            with (self.folder / _ROWS).open("ab") as file:
                file.write(entry.getbuffer())
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        reason = error.strerror or error
        say(f"finished {self.what} cannot be kept in {self.folder} ({reason}); going on without", level=logging.WARNING)
        self._kept = False
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove(self) -> None:
        """Throw everything away: the result stands elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=not self._kept)


def _next_entry(file: IO[bytes]) -> tuple[NDArray[np.int64], NDArray[np.float32]] | None:
    """Read one entry, or None at the end of what is whole."""
    try:
        return np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)
    except (EOFError, ValueError):
        return None


def _require_ours(folder: Path) -> None:
    if not folder.is_dir():
        msg = f"resume={str(folder)!r} is a file; expected a folder, empty or absent."
        raise FileError(msg)
    strange = sorted({one.name for one in folder.iterdir()} - {_ABOUT, _ROWS})
    if strange:
        msg = f"{folder} holds {strange[0]!r}, which this program did not write; expected an empty or absent folder."
        raise FileError(msg)
