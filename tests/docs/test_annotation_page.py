"""The page on how annotation decides tells the numbers that the code uses."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "annotation.md"


def test_numbers_that_decide_are_those_of_the_code() -> None:
    rows = re.findall(r"^\|.*\| ([0-9.]+) \| `([\w.]+)\.([A-Z_]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) >= 10
    for value, module, name in rows:
        assert float(value) == getattr(import_module(f"scfm_scverse.{module}"), name), f"{module}.{name}"
