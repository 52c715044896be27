"""JSON of other programs."""

from __future__ import annotations

import json
from collections import Counter
from math import isfinite
from pathlib import Path
from typing import Any

from .._errors import CheckpointError
from .files import read_bytes
from .opcodes import PLAIN, RefusedError, check_values

MOST_BYTES = 32 * 2**20


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file.

    Raises
    ------
    CheckpointError
        The file is missing, larger than 32 MB, no JSON, or no object at its top; a name stands twice in an object, or
        a number is not finite.
    """
    data = read_bytes(path, most=MOST_BYTES)
    try:
        found = parse_json(data)
    except (ValueError, RefusedError) as error:
        msg = f"{path} cannot be read as JSON ({' '.join(str(error).split())[:200]}); expected an object."
        raise CheckpointError(msg) from error
    return found


def parse_json(data: bytes) -> dict[str, Any]:
    """Return the object that some bytes are.

    Raises
    ------
    ValueError
        They are none.
    RefusedError
        It holds too much or is nested too deeply.
    """
    try:
        text = data.decode("utf-8-sig")
        found = json.loads(text, object_pairs_hook=_object, parse_float=_number, parse_constant=_number)
    except RecursionError as error:
        msg = "it is nested too deeply"
        raise ValueError(msg) from error
    check_values(found, PLAIN)
    if not isinstance(found, dict):
        msg = f"its top is a {type(found).__name__}"
        raise ValueError(msg)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        msg = f"it holds {twice[:80]!r} twice"
        raise ValueError(msg)
    return found


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        msg = f"it holds the number {text[:20]}"
        raise ValueError(msg)
    return number
