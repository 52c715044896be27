"""``scfm models``."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

import scfm_scverse


def test_every_model_is_listed_with_its_licence(scfm: Callable[..., Result]) -> None:
    result = scfm("models")
    assert result.exit_code == 0
    found = scfm_scverse.models.available()
    rows = result.stdout.split("\n\n")[1].splitlines()[2:]
    assert [row.split()[0] for row in rows] == list(found.index)
    assert all(licence in row for row, licence in zip(rows, found["licence"], strict=True))


def test_published_models_are_listed_with_how_to_obtain_them(scfm: Callable[..., Result]) -> None:
    output = scfm("models").stdout
    table = scfm_scverse.models.catalogue().iloc[1:]
    rows = output.split("\n\n")[3].splitlines()[2:]
    assert len(rows) == len(table)
    assert all(row.startswith(release) for row, release in zip(rows, table["release"], strict=True))
    for column in ("obtain", "licence", "allows", "citation"):
        assert all(text in output for text in table[column])
    assert max(map(len, output.splitlines())) < 170
