"""Names of the classes of a fine-tuned head, which no checkpoint holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..._errors import CheckpointError
from ...checkpoints import read_pickle

CLASSES = "label_dict"


def read_classes(path: Path, n_classes: int, given: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes of a fine-tuned file, [c].

    Raises
    ------
    CheckpointError
        Another number of names than of classes.
    """
    beside = path.parent / CLASSES
    if given is None and not beside.is_file():
        return tuple(map(str, range(n_classes)))
    source = beside if given is None else given
    found = read_pickle(Path(source)) if isinstance(source, str | Path) else list(source)
    names = tuple(map(str, found)) if isinstance(found, list | tuple | np.ndarray) else ()
    if len(names) != n_classes:
        what = source if isinstance(source, str | Path) else "classes="
        msg = f"{what} holds {len(names)} names of classes; expected {n_classes}, as {path} has: pass classes=."
        raise CheckpointError(msg)
    return names
