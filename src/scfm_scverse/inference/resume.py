"""Embeddings of finished cells on disk, so that work that was cut short goes on where it stopped."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import FileError
from .._logging import say


class Partial:
    """A folder of finished rows, and of what they were made from.

    Rows are written before they are marked as finished; both are memory-mapped, so that what was written survives the
    end of the process, however it ends.

    Parameters
    ----------
    folder
        Where the rows are kept; made if absent.
    made_from
        What the rows depend on: model, options, data. Rows made from anything else are thrown away.
    n_cells
        Number of cells.
    """

    def __init__(self, folder: Path, made_from: dict[str, Any], n_cells: int) -> None:
        self.folder = folder
        self.n_cells = n_cells
        self.rows: NDArray[np.float32] | None = None
        self.done: NDArray[np.bool_] = np.zeros(n_cells, bool)
        wanted = json.dumps(made_from, sort_keys=True)
        about = folder / "made_from.json"
        if about.is_file() and about.read_text(encoding="utf-8") == wanted and (folder / "rows.npy").is_file():
            self._go_on()
            return
        if folder.exists():
            _require_ours(folder)
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        about.write_text(wanted, encoding="utf-8")

    def _go_on(self) -> None:
        try:
            rows = np.lib.format.open_memmap(self.folder / "rows.npy", mode="r+")
            done = np.lib.format.open_memmap(self.folder / "done.npy", mode="r+")
        except (OSError, ValueError) as error:  # cut short while the files were made
            say(f"what {self.folder} holds cannot be used ({error}); every cell is computed")
            return
        if rows.ndim == 2 and rows.dtype == np.float32 and len(rows) == len(done) == self.n_cells:
            self.rows, self.done = rows, done
            say(f"{int(done.sum()):,} of {self.n_cells:,} cells were finished before; going on with the others")

    def start(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Make the files for rows of this shape, all NaN."""
        self.rows = np.lib.format.open_memmap(self.folder / "rows.npy", mode="w+", dtype=np.float32, shape=shape)
        self.rows[:] = np.nan
        self.done = np.lib.format.open_memmap(self.folder / "done.npy", mode="w+", dtype=np.bool_, shape=(shape[0],))
        return self.rows

    def finish(self, cells: NDArray[np.int64]) -> None:
        """Mark cells whose rows are written."""
        self.done[cells] = True

    def remove(self) -> None:
        """Throw everything away: the result stands elsewhere."""
        self.rows = None
        self.done = np.zeros(self.n_cells, bool)
        shutil.rmtree(self.folder)


def _require_ours(folder: Path) -> None:
    strange = sorted({one.name for one in folder.iterdir()} - {"made_from.json", "rows.npy", "done.npy"})
    if strange:
        msg = f"{folder} holds {strange[0]!r}, which this program did not write; expected an empty or absent folder."
        raise FileError(msg)
