"""``scfm models``."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

import scfm_scverse


def test_every_model_is_listed_with_its_licence(scfm: Callable[..., Result]) -> None:
    result = scfm("models")
    assert result.exit_code == 0
    found = scfm_scverse.models.available()
    _, _, *rows = result.stdout.splitlines()
    assert [row.split()[0] for row in rows] == list(found.index)
    assert all(licence in row for row, licence in zip(rows, found["licence"], strict=True))
