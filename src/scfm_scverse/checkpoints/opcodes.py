"""A reader of pickles that runs nothing: it works through the opcodes itself and knows only plain values."""

from __future__ import annotations

import pickletools
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from itertools import chain
from typing import Any
from warnings import catch_warnings

import numpy as np

MOST_STEPS = 2_000_000  # opcodes of one pickle, and values in what it holds
MOST_TEXT = 2**28  # characters in all that it holds, each text counted as often as it stands there
DEEPEST = 64
_LARGEST_KEY = 2**61 - 1  # whole numbers below it have hashes of their own
PLAIN: tuple[type, ...] = (str, bytes, bool, int, float, complex, type(None), np.generic, np.ndarray, np.dtype)
_NUMBERS = (int, float, np.bool_, np.integer, np.floating)
_KEYS = (str, bytes, type(None), *_NUMBERS)
# Opcodes that put their argument on the stack, a constant, or an empty container.
_ARGUMENT = frozenset(
    "INT BININT BININT1 BININT2 LONG LONG1 FLOAT BINFLOAT UNICODE SHORT_BINUNICODE BINUNICODE "
    "BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 STRING SHORT_BINSTRING BINSTRING".split()
)
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set, "EMPTY_TUPLE": tuple}
_NOTHING = ("PROTO", "FRAME", "STOP")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class RefusedError(Exception):
    """What a pickle holds that is not read; the text completes a sentence about the file."""


@dataclass(frozen=True)
class Known:
    """A name that a pickle may use, and what stands for calling it: the arguments in, a value out."""

    name: str
    call: Callable[[tuple[Any, ...]], Any]


class Unfinished(ABC):
    """A value whose state comes in a step of its own."""

    @abstractmethod
    def finish(self, state: Any) -> Any:
        """Return the value that has this state."""


class Machine:
    """Works through one pickle.

    Parameters
    ----------
    known
        ``"module name"`` -> what stands for it. Every other name is refused.
    stored
        What stands for a value that lies outside the pickle, by its description; ``None`` if there may be none.
    plain
        Types that may stand in the result besides containers, text, numbers and NumPy arrays.
    """

    def __init__(
        self,
        known: Mapping[str, Callable[[tuple[Any, ...]], Any]],
        *,
        stored: Callable[[Any], Any] | None = None,
        plain: tuple[type, ...] = (),
    ) -> None:
        self._known = known
        self._stored = stored
        self._plain = (*PLAIN, *plain)
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._unfinished: dict[int, list[int]] = {}  # values not finished -> their places in the memo

    def run(self, data: bytes) -> Any:
        """Return what the pickle holds.

        Raises
        ------
        RefusedError
            It holds something else than plain values, or is damaged.
        """
        try:
            with catch_warnings(action="ignore", category=DeprecationWarning):  # of odd escapes in old texts
                self._work(BytesIO(data))
        except (ValueError, IndexError, KeyError, OverflowError, TypeError) as error:
            msg = f"is damaged ({' '.join(str(error).split())[:120]})"
            raise RefusedError(msg) from error
        return self._stack[0]

    def _work(self, stream: BytesIO) -> None:
        for step, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if step >= MOST_STEPS:
                msg = f"has more than {MOST_STEPS:,} steps"
                raise RefusedError(msg)
            if opcode.name in _ARGUMENT:
                self._stack.append(argument)
            else:
                self._step(opcode.name, argument)
        if stream.read(1) or len(self._stack) != 1 or self._marks or self._unfinished:
            msg = "it goes on after its end, or ends before"
            raise ValueError(msg)
        check_values(self._stack[0], self._plain)

    def _step(self, name: str, argument: Any) -> None:
        if name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            self._stack.append(_EMPTY[name]())
        elif name in _TUPLES:
            self._stack.append(tuple(self._take(_TUPLES[name])))
        elif name in _METHODS:
            _METHODS[name](self, argument)
        elif name not in _NOTHING:
            msg = f"uses the step {name}, which plain values do not need"
            raise RefusedError(msg)

    def _take(self, n: int) -> list[Any]:
        """The last ``n`` values of the stack, which leave it."""
        if n > len(self._stack):
            msg = "a value is missing"
            raise ValueError(msg)
        taken = self._stack[len(self._stack) - n :]
        del self._stack[len(self._stack) - n :]
        return taken

    def _marked(self) -> list[Any]:
        return self._take(max(len(self._stack) - self._marks.pop(), 0))

    def _do_mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _do_memoize(self, _: Any) -> None:
        self._do_put(len(self._memo))

    def _do_put(self, key: int) -> None:
        value = self._memo[key] = self._stack[-1]
        if isinstance(value, Unfinished):
            self._unfinished[id(value)].append(key)

    _do_binput = _do_long_binput = _do_put

    def _do_get(self, key: int) -> None:
        value = self._memo[key]
        if isinstance(value, Unfinished):
            msg = "uses a value before it is finished"
            raise RefusedError(msg)
        self._stack.append(value)

    _do_binget = _do_long_binget = _do_get

    def _do_bytearray8(self, value: bytearray) -> None:
        self._stack.append(bytes(value))

    def _do_tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._marked()))

    def _do_list(self, _: Any) -> None:
        self._stack.append(self._marked())

    def _do_dict(self, _: Any) -> None:
        items = self._marked()
        self._stack.append({})
        self._set(items)

    def _do_frozenset(self, _: Any) -> None:
        self._stack.append(frozenset(hashable(self._marked())))

    def _do_append(self, _: Any) -> None:
        items = self._take(1)
        self._top(list).extend(items)

    def _do_appends(self, _: Any) -> None:
        items = self._marked()
        self._top(list).extend(items)

    def _do_additems(self, _: Any) -> None:
        items = self._marked()
        self._top(set).update(hashable(items))

    def _do_setitem(self, _: Any) -> None:
        self._set(self._take(2))

    def _do_setitems(self, _: Any) -> None:
        self._set(self._marked())

    def _set(self, items: list[Any]) -> None:
        self._top(dict).update(zip(hashable(items[::2]), items[1::2], strict=True))

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            msg = f"a {kind.__name__} is missing"
            raise ValueError(msg)
        return self._stack[-1]

    def _do_global(self, argument: str) -> None:
        if argument not in self._known:
            msg = f"asks for {'.'.join(argument.split())[:120]}"
            raise RefusedError(msg)
        self._stack.append(Known(argument, self._known[argument]))

    def _do_stack_global(self, _: Any) -> None:
        module, name = self._take(2)
        self._do_global(f"{module} {name}")

    def _do_reduce(self, _: Any) -> None:
        function, arguments = self._take(2)
        if not isinstance(function, Known) or type(arguments) is not tuple:
            msg = "a function is missing"
            raise ValueError(msg)
        value = function.call(arguments)
        if isinstance(value, Unfinished):
            self._unfinished[id(value)] = []
        self._stack.append(value)

    def _do_build(self, _: Any) -> None:
        value, state = self._take(2)
        if isinstance(value, Unfinished):
            finished = value.finish(state)
            for key in self._unfinished.pop(id(value)):
                self._memo[key] = finished
        elif isinstance(value, OrderedDict) and isinstance(state, dict):
            finished = value  # attributes that torch hangs on a state dict
        else:
            msg = f"sets the state of a {type(value).__name__}"
            raise RefusedError(msg)
        self._stack.append(finished)

    def _do_persid(self, argument: Any) -> None:
        if self._stored is None:
            msg = "refers to something outside the file"
            raise RefusedError(msg)
        self._stack.append(self._stored(argument))

    def _do_binpersid(self, _: Any) -> None:
        self._do_persid(self._take(1)[0])


_METHODS: dict[str, Callable[[Machine, Any], None]] = {
    name.removeprefix("_do_").upper(): method for name, method in vars(Machine).items() if name.startswith("_do_")
}


def hashable(keys: list[Any]) -> Iterator[Any]:
    """Keys of a mapping or members of a set, refused where made-up collisions of their hashes could take hours."""
    for key in keys:
        parts = key if type(key) is tuple else (key,)
        n_numbers = sum(isinstance(part, _NUMBERS) for part in parts)
        if n_numbers > 1 or not all(isinstance(part, _KEYS) and _small(part) for part in parts):
            msg = f"has a key of type {type(key).__name__} that is no text, small number or text with one number"
            raise RefusedError(msg)
        yield key


def _small(key: Any) -> bool:
    return not isinstance(key, int | np.integer) or abs(int(key)) < _LARGEST_KEY


def check_values(value: Any, plain: tuple[type, ...]) -> None:
    """Walk through what was read: every value as often as it stands there, which also finds rings.

    Raises
    ------
    RefusedError
        There are too many values, they are nested too deeply, or one is of no type in ``plain``.
    ValueError
        A text cannot be written as UTF-8.
    """
    left: list[Iterator[Any]] = [iter([value])]
    n_values = n_letters = 0
    while left:
        one = next(left[-1], left)
        if one is left:
            left.pop()
            continue
        n_values += 1
        if isinstance(one, dict):
            left.append(chain(one, one.values()))
        elif isinstance(one, list | tuple | set | frozenset):
            left.append(iter(one))
        elif isinstance(one, str):
            n_letters += len(one)
            one.isascii() or one.encode()  # half a character cannot be
        elif not isinstance(one, plain):
            msg = f"holds {one.name.replace(' ', '.') if isinstance(one, Known) else type(one).__name__} as a value"
            raise RefusedError(msg)
        if len(left) > DEEPEST:
            msg = f"holds itself or is nested deeper than {DEEPEST}"
            raise RefusedError(msg)
        if n_values > MOST_STEPS or n_letters > MOST_TEXT:
            msg = f"unfolds to more than {MOST_STEPS:,} values or {MOST_TEXT / 2**20:.0f} MB of text"
            raise RefusedError(msg)
