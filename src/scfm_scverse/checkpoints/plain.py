"""What a pickle of plain values may name: containers, and NumPy's scalars, types and arrays."""

from __future__ import annotations

import re
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from functools import partial
from math import prod
from typing import Any, Literal

import numpy as np

from .opcodes import Known, RefusedError, Unfinished, hashable

_Values = np.ndarray[tuple[int, ...], np.dtype[Any]]
_Order = Literal["C", "F"]
_DTYPE = re.compile(r"[biufcSU]\d{1,9}|O8?")
_FACTORIES: dict[str, Callable[[], Any]] = {
    "list": list, "dict": dict, "set": set, "int": int, "float": float, "str": str
}  # fmt: skip


class _DType(Unfinished):
    def __init__(self, arguments: tuple[Any, ...]) -> None:
        match arguments:
            case (str() as name, _, _) if _DTYPE.fullmatch(name):
                self._name = name
            case (what, *_):
                msg = f"holds NumPy values of the type {str(what)[:40]!r}; expected numbers or text"
                raise RefusedError(msg)

    def finish(self, state: Any) -> np.dtype[Any]:
        match state:
            case (3, "<" | ">" | "|" | "=" as order, None, None, None, int(), int(), int()):
                return np.dtype(f"{order}{self._name}")
        msg = "holds NumPy values of a compound type; expected numbers or text"
        raise RefusedError(msg)


class _Array(Unfinished):
    def __init__(self, arguments: tuple[Any, ...]) -> None:
        match arguments:
            case (Known(name="numpy ndarray"), tuple(), _):
                return
        msg = "holds an unusual kind of NumPy array"
        raise RefusedError(msg)

    def finish(self, state: Any) -> _Values:
        match state:
            case (1, tuple() as shape, np.dtype() as dtype, bool() | int() as fortran, bytes() | list() as values):
                return _array(values, dtype, shape, "F" if fortran else "C")
        msg = "an array has no values"
        raise ValueError(msg)


def _array(values: bytes | list[Any], dtype: np.dtype[Any], shape: tuple[Any, ...], order: _Order) -> _Values:
    """An array of numbers or text, from its bytes, or of objects that are text, from their list."""
    if not all(type(n) is int and 0 <= n < 2**48 for n in shape) or len(shape) > 8:
        msg = f"holds a NumPy array of the shape {str(shape)[:40]}"
        raise RefusedError(msg)
    if dtype.kind == "O":
        if not isinstance(values, list) or not all(type(value) is str for value in values):
            msg = "holds a NumPy array of objects; expected numbers or text"
            raise RefusedError(msg)
        flat: _Values = np.empty(len(values), object)
        flat[:] = values
    else:
        flat = _numbers(values, dtype)
    if prod(shape) != len(flat):
        msg = f"holds {len(flat):,} values for a NumPy array of the shape {str(shape)[:40]}"
        raise RefusedError(msg)
    return flat.reshape(shape, order=order)


def _numbers(values: Any, dtype: np.dtype[Any]) -> _Values:
    flat = np.frombuffer(values, dtype) if len(values) else np.empty(0, dtype)
    if dtype.kind == "U" and len(flat):
        codes = np.frombuffer(values, np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > 0x10FFFF or ((codes >= 0xD800) & (codes < 0xE000)).any():
            msg = "an array holds what is no text"
            raise ValueError(msg)
    return flat.copy()


def _scalar(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (np.dtype() as dtype, bytes() as value) if dtype.kind != "O":
            return _array(value, dtype, (1,), "C")[0]
    msg = "holds a NumPy scalar of objects; expected a number or text"
    raise RefusedError(msg)


def _from_buffer(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case (bytes() as values, np.dtype() as dtype, tuple() as shape, "C" | "F" as order):
            return _array(values, dtype, shape, order)
    msg = "holds an unusual kind of NumPy array"
    raise RefusedError(msg)


def _encode(arguments: tuple[Any, ...]) -> bytes:
    """Bytes as old protocols write them: as text."""
    match arguments:
        case (str() as text, "latin1"):
            return text.encode("latin1")
    msg = "encodes text in an unusual way"
    raise RefusedError(msg)


def _container(kind: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case ():
            return kind()
        case (list() as items,) if kind in (set, frozenset):
            return kind(hashable(items))
    msg = "makes a container in an unusual way"
    raise RefusedError(msg)


def _default_dict(arguments: tuple[Any, ...]) -> Any:
    match arguments:
        case () | (None,):
            return defaultdict()
        case (Known(name=name),) if name.split()[-1] in _FACTORIES:
            return defaultdict(_FACTORIES[name.split()[-1]])
    msg = "makes a defaultdict of something else than plain values"
    raise RefusedError(msg)


def _not_called(arguments: tuple[Any, ...]) -> Any:
    msg = f"makes a value in an unusual way, from {len(arguments)} arguments"
    raise RefusedError(msg)


def _known_names() -> dict[str, Callable[[tuple[Any, ...]], Any]]:
    known: dict[str, Callable[[tuple[Any, ...]], Any]] = {
        "collections OrderedDict": partial(_container, OrderedDict),
        "collections defaultdict": _default_dict,
        "_codecs encode": _encode,
        "numpy dtype": _DType,
        "numpy ndarray": _not_called,
    }
    for core in ("numpy.core", "numpy._core"):
        known[f"{core}.multiarray scalar"] = _scalar
        known[f"{core}.multiarray _reconstruct"] = _Array
        known[f"{core}.numeric _frombuffer"] = _from_buffer
    for module in ("builtins", "__builtin__"):
        known |= {f"{module} {name}": _not_called for name in _FACTORIES}
        known[f"{module} set"] = partial(_container, set)
        known[f"{module} frozenset"] = partial(_container, frozenset)
        known[f"{module} bytes"] = partial(_container, bytes)
    return known


PLAIN_NAMES = _known_names()
