"""JSON: what is read and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import json_files, read_json


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_object_is_read(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(start + '{"a": [1, 2.5, null, true], "é": {"b": "c"}}'.encode())
    assert read_json(path) == {"a": [1, 2.5, None, True], "é": {"b": "c"}}


BAD = {
    "a list": (b"[1]", "its top is a list"),
    "a number": (b"1", "its top is a int"),
    "no JSON": (b"{a: 1}", "Expecting property name"),
    "more behind": (b"{} {}", "Extra data"),
    "cut off": (b'{"a": 1', "Expecting"),
    "not a number": (b'{"a": NaN}', "the number NaN"),
    "infinity": (b'{"a": -Infinity}', "the number -Infinity"),
    "too large a number": (b'{"a": 1e999}', "the number 1e999"),
    "many digits": (b'{"a": ' + b"9" * 10_000 + b"}", "cannot be read as JSON"),
    "a name twice": (b'{"a": {"b": 1, "c": 2, "b": 3}}', "it holds 'b' twice"),
    "deep": (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper than 64"),
    "very deep": (b"[" * 100_000, "nested too deeply"),
    "no text": (b'{"a": "\xff"}', "cannot be read as JSON"),
    "half a character": (rb'{"a": "\ud800"}', "cannot be read as JSON"),
    "half a character as a name": (rb'{"\ud800": 1}', "cannot be read as JSON"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_json_is_refused(tmp_path: Path, what: str) -> None:
    content, message = BAD[what]
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as error:
        read_json(tmp_path / "x.json")
    assert len(str(error.value)) < len(str(tmp_path)) + 400


def test_large_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.json").write_text('{"a": 1}')
    monkeypatch.setattr(json_files, "MOST_BYTES", 7)
    with pytest.raises(CheckpointError, match="is larger than"):
        read_json(tmp_path / "x.json")
