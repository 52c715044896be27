"""Pickles: what is read, what is refused, and that nothing runs."""

from __future__ import annotations

import os
import pickle
import struct
import sys
from collections import OrderedDict, defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import read_pickle
from scfm_scverse.checkpoints.opcodes import Machine
from scfm_scverse.checkpoints.plain import PLAIN_NAMES
from support import run_python


def read(value: Any, protocol: int) -> Any:
    """Pickle a value and read it."""
    return Machine(PLAIN_NAMES).run(pickle.dumps(value, protocol))


def same(found: Any, value: Any) -> None:
    """Equal, and of the same types all the way down."""
    assert type(found) is type(value)
    if isinstance(value, np.ndarray):
        assert found.dtype == value.dtype
        np.testing.assert_array_equal(found, value)
    elif isinstance(value, dict):
        for one, other in ((list(found), list(value)), (list(found.values()), list(value.values()))):
            same(one, other)
    elif isinstance(value, list | tuple):
        assert len(found) == len(value)
        for one, other in zip(found, value, strict=True):
            same(one, other)
    else:
        assert found == value


numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False)
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numpy_numbers = hnp.array_shapes(min_dims=0, max_dims=0).flatmap(
    lambda _: st.sampled_from("?bBhHiIlLefdFD").flatmap(lambda code: hnp.from_dtype(np.dtype(code), allow_nan=False))
)
arrays = hnp.arrays(
    st.sampled_from(["?", "<i8", ">i4", "u1", "<f4", ">f8", "c8", "<U5", ">U2", "S3"]),
    hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
leaves = st.none() | st.booleans() | numbers | text | st.binary(max_size=8) | numpy_numbers
values = st.recursive(
    leaves | st.frozensets(text) | st.sets(text) | arrays.filter(lambda array: array.dtype.kind not in "fc"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(text | st.integers(-(2**60), 2**60), inner, max_size=4)
        | st.dictionaries(text, inner, max_size=4).map(OrderedDict)
    ),
    max_leaves=12,
)


@settings(max_examples=150)
@given(value=values, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back_as_they_were(value: Any, protocol: int) -> None:
    same(read(value, protocol), value)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_other_values_of_dictionaries_in_the_wild(protocol: int) -> None:
    shared = ["a", "b"]
    labels = np.array(["B cell", "T cell"], object)
    table = defaultdict(list, a=[1])
    for value in (labels, table, [shared, shared], {("a", 1): 2}, np.asfortranarray(np.eye(3)), np.dtype(">f4")):
        same(read(value, protocol), value)


def test_dictionaries_of_authors(shared: Path) -> None:
    files = [*(shared / "golden").rglob("*.pkl"), *(shared / "golden").rglob("label_dict")]
    assert len(files) > 8
    for file in files:
        if "second" not in file.parts:
            same(read_pickle(file), pickle.loads(file.read_bytes()))


class Evil:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("deep", [False, True])
def test_nothing_runs(tmp_path: Path, protocol: int, deep: bool) -> None:
    file, trace = tmp_path / "x.pkl", tmp_path / "trace"
    file.write_bytes(pickle.dumps({"a": [1, (Evil(trace),)]} if deep else Evil(trace), protocol))
    with pytest.raises(CheckpointError, match=r"x\.pkl asks for (posix|nt)\.mkdir; expected"):
        read_pickle(file)
    assert not trace.exists()
    pickle.loads(file.read_bytes())  # it does run where pickles are run
    assert trace.exists()


def g(name: str) -> bytes:
    """Opcode that puts a name on the stack."""
    return b"c" + name.encode().replace(b".", b"\n") + b"\n"


def binbytes(value: bytes) -> bytes:
    """Opcode that puts bytes on the stack."""
    return b"B" + struct.pack("<I", len(value)) + value


_DTYPE = b"cnumpy\ndtype\n(X\2\0\0\0f8I00\nI01\ntR(K\3X\1\0\0\0<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
_EMPTY_ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\0tX\1\0\0\0btR"


def array(shape: bytes, content: bytes, dtype: bytes = _DTYPE) -> bytes:
    """Opcodes that make an array."""
    return _EMPTY_ARRAY + b"(K\1" + shape + dtype + b"\x89" + content + b"tb."


BAD = {
    "a name that runs code": (g("os.system") + b"(X\4\0\0\0truetR.", "asks for os.system"),
    "a name put together": (b"\x80\4\x8c\5posix\x8c\6system\x93)R.", "asks for posix.system"),
    "a name of no text": (b"K\1K\2\x93.", "asks for 1.2"),
    "an allowed name, in part": (b"ccollections\nOrderedDict.fromkeys\n)R.", "asks for"),
    "a function as a value": (b"ccollections\nOrderedDict\n.", "holds collections.OrderedDict as a value"),
    "a call of a value": (b"K\1)R.", "is damaged"),
    "a call of a type": (b"cbuiltins\nlist\n(K\1tR.", "unusual way"),
    "an object made afresh": (b"ccollections\nOrderedDict\n)\x81.", "uses the step NEWOBJ"),
    "an instance": (b"(icollections\nOrderedDict\n.", "uses the step INST"),
    "an extension": (b"\x82\1.", "uses the step EXT1"),
    "something outside": (b"Px\n.", "refers to something outside"),
    "a buffer outside": (b"\x97.", "uses the step NEXT_BUFFER"),
    "state for a list": (b"]}b.", "sets the state of a list"),
    "state for a dict": (b"}}b.", "sets the state of a dict"),
    "a list as a key": (b"}]K\1s.", "has a key of type list"),
    "a frozenset as a member": (b"\x8f((K\1\x91\x90.", "has a key of type frozenset"),
    "a list that holds itself": (b"]q\0h\0a.", "holds itself"),
    "a dict that holds itself": (b"}q\0K\1h\0s.", "holds itself"),
    "lists of lists of lists": (b"]" * 500 + b"a" * 499 + b".", "nested deeper"),
    "a large number as a key": (b"}\x8a\x09" + (2**64).to_bytes(9, "little") + b"K\1s.", "has a key of type int"),
    "two numbers as a key": (b"}K\1K\2\x86K\1s.", "has a key of type tuple"),
    "a number of many digits": (b"I" + b"9" * 100_000 + b"\n.", "is damaged"),
    "a number of many bytes": (b"\x8b\xff\xff\xff\x7f\1.", "is damaged"),
    "more bytes than there are": (b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.", "is damaged"),
    "half a character": (b"X\3\0\0\0\xed\xa0\x80.", "is damaged"),
    "a place in the memo that is empty": (b"h\5.", "is damaged"),
    "a mark too many": (b"(K\1.", "is damaged"),
    "a value too many": (b"K\1K\1.", "goes on after its end"),
    "a value too few": (b"a.", "is damaged"),
    "a second pickle": (b"K\1.K\2.", "goes on after its end"),
    "no end": (b"K\1", "is damaged"),
    "an array of objects": (array(b"K\1\x85", b"]K\1a", _DTYPE.replace(b"f8", b"O8")), "array of objects"),
    "an array of records": (array(b"K\1\x85", binbytes(b"12345678"), _DTYPE.replace(b"f8", b"V8")), "type 'V8'"),
    "an array of dates": (array(b"K\1\x85", binbytes(b"12345678"), _DTYPE.replace(b"f8", b"M8")), "type 'M8'"),
    "an array of no known type": (array(b"K\1\x85", binbytes(b"12345"), _DTYPE.replace(b"f8", b"f5")), "is damaged"),
    "an array with fields": (array(b"K\1\x85", binbytes(b"12345678"), _DTYPE.replace(b"NNN", b"N)N")), "compound"),
    "an array larger than its bytes": (array(b"J\xff\xff\xff\x7f\x85", binbytes(b"12345678")), "of the shape"),
    "an array of half a number": (array(b"K\1\x85", binbytes(b"1234567")), "is damaged"),
    "an array of a negative shape": (array(b"J\xff\xff\xff\xff\x85", binbytes(b"")), "of the shape"),
    "an array of an endless shape": (array(b"K\0\x8a\x20" + b"\x7f" * 32 + b"\x86", binbytes(b"")), "of the shape"),
    "an array of many axes": (array(b"(" + b"K\1" * 9 + b"t", binbytes(b"12345678")), "of the shape"),
    "an array without values": (_EMPTY_ARRAY + b".", "goes on after its end"),
    "an array used before it has values": (_EMPTY_ARRAY + b"q\0h\0.", "before it is finished"),
    "a type without state": (_DTYPE[: _DTYPE.index(b"R") + 1] + b".", "goes on after its end"),
    "text that is none": (
        array(b"K\1\x85", binbytes(b"\xff\xff\xff\xff"), _DTYPE.replace(b"f8", b"U1")), "holds what is no text"
    ),
    "an array of another class": (_EMPTY_ARRAY.replace(b"ndarray", b"memmap") + b".", "asks for numpy.memmap"),
    "an encoding that is none": (b"c_codecs\nencode\n(X\1\0\0\0aX\3\0\0\0hextR.", "unusual way"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_pickle_is_refused(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    file = tmp_path / "x.pkl"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_pickle(file)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("content", "value"),
    [(b"S'\\y'\n.", "\\y"), (b"K\1r\xff\xff\xff\x7fj\xff\xff\xff\x7f\x86.", (1, 1)), (b"I01\n.", True)],
)
def test_odd_pickle_is_read(tmp_path: Path, content: bytes, value: Any) -> None:
    (tmp_path / "x.pkl").write_bytes(content)
    same(read_pickle(tmp_path / "x.pkl"), value)


def test_objects_are_named(tmp_path: Path) -> None:
    import pandas as pd

    for value, name in (
        (Decimal(1), "decimal.Decimal"),
        (pd.Series([1]), "pandas"),
        (Path(), "pathlib"),
        (1j, "compl"),
    ):
        (tmp_path / "x.pkl").write_bytes(pickle.dumps(value))
        with pytest.raises(CheckpointError, match=f"asks for .*{name}"):
            read_pickle(tmp_path / "x.pkl")


_BOMBS = """
import resource
from pathlib import Path
from scfm_scverse.checkpoints import read_pickle
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + 700 * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
n = 30 * 2**20
last_list = lambda i: b"(h" + bytes([i]) + b"h" + bytes([i]) + b"lq" + bytes([i + 1])
last_tuple = lambda i: b"h" + bytes([i]) + b"h" + bytes([i]) + b"\\x86q" + bytes([i + 1])
number = lambda i: b"\\x8a\\x0a" + (i * (2**61 - 1)).to_bytes(10, "little")
bombs = {
    "lists of twice the last": b"(]q\\0" + b"".join(map(last_list, range(60))) + b"t.",
    "tuples of twice the last to hash": b"}(K\\1q\\0" + b"".join(map(last_tuple, range(59))) + b"u.",
    "empty lists, kept": b"(" + b"]\\x94" * (n // 2) + b"l.",
    "a long text, often": b"(X" + (10**6).to_bytes(4, "little") + b"a" * 10**6 + b"q\\0" + b"h\\0" * 500_000 + b"l.",
    "colliding keys": b"}(" + b"".join(number(i) + b"N" for i in range(1, 10**5)) + b"u.",
    "too large a file": b"]" * 40 * 2**20,
}
for what, content in bombs.items():
    file = Path(FOLDER) / "x.pkl"
    file.write_bytes(content)
    try:
        read_pickle(file)
    except ValueError as error:
        print(type(error).__name__, what, "|", str(error).split("x.pkl ")[1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits memory as Linux does")
def test_bombs_stay_small(tmp_path: Path) -> None:
    lines = run_python(f"FOLDER = {str(tmp_path)!r}\n{_BOMBS}").splitlines()
    assert len(lines) == len([line for line in _BOMBS.splitlines() if line.startswith('    "')])
    assert all(line.startswith("CheckpointError ") for line in lines)
