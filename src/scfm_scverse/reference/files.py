"""References in files: every field of :class:`Reference` under its own name, whatever fields there are."""

from __future__ import annotations

from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import numpy as np

from .._errors import FileError
from ..io.reference_file import ReferenceFile, read_reference_file, write_reference_file
from .reference import LabelledCells, Reference

DEFAULT = Path(__file__).parent / "data" / "default.h5ad"
T = TypeVar("T")


def save_reference(reference: Reference, path: Path) -> None:
    """Write a reference, without loss, to one .h5ad file."""
    values = _to_values(reference)
    values.pop("cells", None)
    cells = reference.cells
    if cells is None:
        cells = LabelledCells(np.zeros((0, 0), np.float16), np.zeros(0, np.int32), np.zeros(0, str))
    columns = {"label": reference.label[cells.code], "term": reference.term[cells.code], "batch": cells.batch}
    write_reference_file(path, ReferenceFile(values, columns, cells.embedding))


def load_reference(path: Path) -> Reference:
    """Read what :func:`save_reference` wrote; nothing in the file is executed."""
    content = read_reference_file(path)
    try:
        values = dict(content.values)
        if len(content.embedding):
            place = {label: i for i, label in enumerate(values["label"].tolist())}
            code = np.array([place[label] for label in content.columns["label"].tolist()], np.int32)
            values["cells"] = LabelledCells(content.embedding, code, content.columns["batch"])
        return _from_values(Reference, values)
    except KeyError as error:
        msg = f"Found no {error} in the reference {path}; expected all that this version writes: build it again."
        raise FileError(msg) from error


@cache
def load_default_reference() -> Reference:
    """Read the reference that comes with the package."""
    return load_reference(DEFAULT)


def _to_values(value: Any) -> Any:
    """Dataclasses as dicts of their fields; what is None is left out."""
    if is_dataclass(value):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return {name: _to_values(part) for name, part in parts.items() if part is not None}
    return value.item() if isinstance(value, np.generic) else value


def _from_values(kind: type[T], values: dict[str, Any]) -> T:
    """Undo :func:`_to_values`; fields that are not there take their default."""
    hints = get_type_hints(kind)
    parts: dict[str, Any] = {}
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name not in values and field.default is not MISSING:
            continue
        value = values[field.name]
        hint = hints[field.name]  # of a field that may be None, such as "LabelledCells | None", a union
        inner = next((one for one in (hint, *get_args(hint)) if isinstance(one, type) and is_dataclass(one)), None)
        parts[field.name] = value if inner is None or is_dataclass(value) else _from_values(inner, value)
    return kind(**parts)
