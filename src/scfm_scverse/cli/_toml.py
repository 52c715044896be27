"""TOML files that describe work: read, their keys and values checked, errors in the words of the file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .._errors import FileError, InputError, ScfmError

_TYPES: dict[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "float": (float, int),
    "Sequence": (list,),
    "Iterable": (str, list),
    "Mapping": (dict,),
}
_WORDS = {str: "text", bool: "true or false", int: "a whole number", float: "a number", list: "a list", dict: "a table"}


def read_toml(path: Path, *, command: str, such_as: str) -> dict[str, Any]:
    """Read a file.

    Raises
    ------
    FileError
        It is missing or no TOML; the message names the command that shows an example, and lines such as are expected.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = (
            f"Cannot read {path}: {error.strerror or error}. Expected TOML (`scfm {command} --help` shows an example)."
        )
        raise FileError(msg) from error
    except ValueError as error:  # no TOML, or no text
        msg = f"Found {path}, which is no TOML: {error}. Expected lines such as: {such_as}"
        raise FileError(msg) from error


def check_value(key: str, value: object, annotation: str, where: str) -> None:
    """Stop where a value is of another type than an argument of Python is annotated with."""
    expected = _expected(annotation)
    if type(value) not in expected:
        words = " or ".join(_WORDS[one] for one in expected if one is not int or float not in expected)
        msg = f"Found {key} = {value!r} in {where}; expected {words}."
        raise InputError(msg)


def near_key(key: str, known: Iterable[str]) -> str:
    """Say which key may be meant, or which there are."""
    known = list(known)
    near = get_close_matches(key, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"those there are: {', '.join(known)}."


@contextmanager
def in_keys(names: Iterable[str]) -> Iterator[None]:
    """Name arguments as keys of a file in errors."""
    try:
        yield
    except ScfmError as error:
        error.args = (as_keys(str(error), names), *error.args[1:])
        raise


def as_keys(message: str, names: Iterable[str]) -> str:
    """Write arguments of Python as keys of a file."""
    either = "|".join(names)
    return re.sub(rf"\b({either})=", r"\1", re.sub(rf"\b({either})=(?=['\d-])", r"\1 = ", message))


def _expected(annotation: str) -> tuple[type, ...]:
    """Types that TOML may give for an argument; names of other types stand for text there."""
    inner = None
    while inner != annotation:
        inner, annotation = annotation, re.sub(r"\[[^\[\]]*\]", "", annotation)
    words = [word for word in re.findall(r"\w+", annotation) if word != "None"]
    return tuple(dict.fromkeys(one for word in words for one in _TYPES.get(word, (str,))))
