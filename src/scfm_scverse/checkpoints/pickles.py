"""Pickles of plain values, read without unpickling them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._errors import CheckpointError
from .files import read_bytes
from .opcodes import Machine, RefusedError
from .plain import PLAIN_NAMES

MOST_BYTES = 32 * 2**20  # the largest dictionary of a published model has 4 MB


def read_pickle(path: Path) -> Any:
    """Return what a pickle of containers, text, numbers and plain NumPy arrays holds; nothing in it is run.

    Known containers are dict, list, tuple, set, frozenset, OrderedDict and defaultdict. NumPy arrays hold numbers or
    text. Everything else is refused by its name.

    Raises
    ------
    CheckpointError
        The file is missing, damaged or larger than 32 MB, or holds something else.

    Examples
    --------
    >>> import pickle, tempfile
    >>> from pathlib import Path
    >>> file = Path(tempfile.mkdtemp()) / "tokens.pkl"
    >>> _ = file.write_bytes(pickle.dumps({"<pad>": 0, "ENSG00000000003": 2}))
    >>> read_pickle(file)
    {'<pad>': 0, 'ENSG00000000003': 2}
    """
    data = read_bytes(path, most=MOST_BYTES)
    try:
        return Machine(PLAIN_NAMES).run(data)
    except RefusedError as error:
        msg = f"{path} {error}; expected a pickle of containers, text, numbers and plain NumPy arrays."
        raise CheckpointError(msg) from error
