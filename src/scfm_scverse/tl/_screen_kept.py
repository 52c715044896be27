"""What a screen keeps on disk while it runs, so that work that was cut short goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import FileError
from ..inference import Partial

_PART = re.compile(r"(first|null|screen)-[0-9a-f]{16}")


class Kept:
    """A folder of finished parts of a screen: of each group and dose, and of what they are compared with.

    Parameters
    ----------
    folder
        Where; made when there is something to keep.
    made_from
        What every part depends on. Parts made from anything else are not used.

    Raises
    ------
    FileError
        The folder is a file, or holds what no screen wrote.
    """

    def __init__(self, folder: str | Path, made_from: dict[str, Any]) -> None:
        self.folder, self.made_from = Path(folder), made_from
        if self.folder.exists() and not self.folder.is_dir():
            msg = f"resume={str(folder)!r} is a file; expected a folder, empty or absent."
            raise FileError(msg)
        strange = sorted(path.name for path in self._entries() if not _PART.fullmatch(path.name))
        if strange:
            msg = (
                f"{self.folder} (resume) holds {strange[0]!r}, which no screen wrote; expected an empty or absent "
                "folder."
            )
            raise FileError(msg)

    def part(self, what: str, made_from: dict[str, str], n: int) -> Partial:
        """Return the rows of a part that are finished, and where the others are added."""
        depends_on = self.made_from | made_from
        name = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:16]
        return Partial(self.folder / f"{what}-{name}", depends_on, n, what="perturbations")

    def remove(self) -> None:
        """Throw everything away: the result stands elsewhere."""
        for path in self._entries():
            if _PART.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
        if self.folder.is_dir() and not self._entries():
            self.folder.rmdir()

    def _entries(self) -> list[Path]:
        return list(self.folder.iterdir()) if self.folder.is_dir() else []


def digest(*arrays: NDArray[Any] | None) -> str:
    """Tell arrays apart by what is in them."""
    found = hashlib.sha256()
    for array in arrays:
        found.update(f"{None if array is None else (array.shape, array.dtype.str)}".encode())
        if array is not None:
            found.update(np.ascontiguousarray(array).data)
    return found.hexdigest()
