"""A TOML file that describes screens: read, checked and put into the arguments of ``tl.rank_perturbations``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .._errors import InputError
from ._toml import check_value, near_key, read_toml

EXAMPLE = """\
input = "cells.h5ad"    # h5ad or zarr; paths start where this file is
output = "knock_outs"   # a folder, made if absent
groupby = "cell_type"   # what stands up here holds for all screens

[[screen]]
name = "receptors"
genes = ["IFNAR1", "IFNGR1", ["IFNAR1", "IFNGR1"]]   # a list within: together

[[screen]]
name = "towards_naive"
genes = "expressed"     # every gene that is expressed
kind = "inhibit"
dose = [0.5, 1.0]
state_key = "state"
start = "exhausted"
goal = "naive"
"""
FILE_KEYS = ("input", "output", "screen")
OURS = {"adata", "key_added", "resume", "copy"}  # arguments that the command gives
EXPRESSED = "expressed"
_NAME = re.compile(r"\w[\w.-]*")


@dataclass(frozen=True)
class Screen:
    """One call of ``tl.rank_perturbations``; the name is that of its files and of its record."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class ScreenFile:
    """Screens of the cells of one file, and the folder of their results."""

    input: Path
    output: Path
    screens: tuple[Screen, ...]


def read_screens(path: Path) -> ScreenFile:
    """Read a file of screens; nothing but the file itself is looked at.

    Raises
    ------
    FileError
        It is missing or no TOML.
    InputError
        A key is missing, unknown, or has a value of another type.
    """
    content = read_toml(path, command="perturb", such_as='genes = ["STAT1", "JAK2"]')
    tables = content.pop("screen", [{}])
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        msg = f"Found 'screen' in {path} that is no table; expected [[screen]] above the keys of each screen."
        raise InputError(msg)
    places = {key: path.parent / _text(content, key, path) for key in ("input", "output")}
    common = {key: value for key, value in content.items() if key not in places}
    screens = tuple(_screen(common | table, path, single=len(tables) == 1) for table in tables)
    names = [screen.name for screen in screens]
    twice = [name for place, name in enumerate(names) if name in names[:place]]
    if twice:
        msg = f"Found two screens named {twice[0]!r} in {path}; expected a name of its own for each."
        raise InputError(msg)
    return ScreenFile(**places, screens=screens)


def parameters() -> dict[str, inspect.Parameter]:
    """Return the arguments of ``tl.rank_perturbations`` that a screen may set."""
    from .. import tl

    found = inspect.signature(tl.rank_perturbations).parameters
    return {name: parameter for name, parameter in found.items() if name not in OURS}


def _screen(table: dict[str, Any], path: Path, *, single: bool) -> Screen:
    name = _text({"name": "screen"} | table if single else table, "name", path)
    if not _NAME.fullmatch(name):
        msg = f"Found name = {name!r} in {path}; expected letters, digits, '_', '-' and '.', as it becomes a file name."
        raise InputError(msg)
    known, where = parameters(), f"the screen {name!r} of {path}"
    arguments = {key: value for key, value in table.items() if key != "name"}
    for key, value in arguments.items():
        if key not in known:
            raise InputError(_unknown(key, [*known, *FILE_KEYS, "name"], where))
        check_value(key, value, str(known[key].annotation), where)
    return Screen(name, _as_arguments(arguments, path.parent))


def _as_arguments(arguments: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Say in Python what TOML has other words for."""
    genes, model = arguments.get("genes"), arguments.get("model")
    if isinstance(genes, str):
        arguments = arguments | {"genes": None if genes == EXPRESSED else [genes]}
    elif genes is not None:
        arguments = arguments | {"genes": [tuple(one) if isinstance(one, list) else one for one in genes]}
    if model is not None and (folder / model).exists():
        arguments = arguments | {"model": str(folder / model)}
    return arguments


def _text(table: Mapping[str, Any], key: str, path: Path) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value.strip():
        near = get_close_matches(key, [other for other in table if other != key], n=1)
        hint = f" Did you mean {near[0]!r}?" if near and value is None else ""
        found = f"no {key!r}" if value is None else f"{key} = {value!r}"
        msg = f"Found {found} {'in a screen of' if key == 'name' else 'at the top of'} {path}; expected text.{hint}"
        raise InputError(msg)
    return value


def _unknown(key: str, known: list[str], where: str) -> str:
    above = "it belongs to the top of the file, above the first [[screen]]."
    return f"Found the key {key!r} in {where}; {above if key in FILE_KEYS else near_key(key, known)}"
