"""``scfm report``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from scfm_scverse.io.files import write_adata
from support import annotated_by_hand

Scfm = Callable[..., Result]


@pytest.fixture
def annotated(tmp_path: Path) -> Path:
    path = tmp_path / "a b.h5ad"
    write_adata(annotated_by_hand(), path)
    return path


def test_page_names_the_file_and_the_file_stays(scfm: Scfm, annotated: Path, tmp_path: Path) -> None:
    before = annotated.read_bytes()
    result = scfm("report", annotated, "-o", "page.html", "--sample-key", "sample")
    assert result.exit_code == 0
    assert result.stdout == "page.html\n"
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<h1>a b.h5ad</h1>" in page
    assert 'id="samples"' in page
    assert annotated.read_bytes() == before


def test_cells_that_are_not_annotated_are_annotated_first(scfm: Scfm, h5ad: Path, tmp_path: Path) -> None:
    before = h5ad.read_bytes()
    result = scfm("report", h5ad, "-o", "page.html")
    assert result.exit_code == 0
    assert "<dd>30</dd>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert h5ad.read_bytes() == before


def test_page_over_the_data_is_refused(scfm: Scfm, annotated: Path) -> None:
    before = annotated.read_bytes()
    result = scfm("report", annotated, "-o", annotated)
    assert result.exit_code == 1
    assert "ends in .html" in result.stderr
    assert annotated.read_bytes() == before


def test_missing_column_is_named_as_an_option(scfm: Scfm, annotated: Path, tmp_path: Path) -> None:
    result = scfm("report", annotated, "-o", "page.html", "--sample-key", "donor")
    assert result.exit_code == 1
    assert "--sample-key donor is not in" in result.stderr.replace("'", "")
    assert not (tmp_path / "page.html").exists()


def test_place_for_the_page_must_be_named(scfm: Scfm, annotated: Path) -> None:
    assert scfm("report", annotated).exit_code == 2


@pytest.mark.parametrize(
    "arguments", [["-o", "page.txt"], ["-o", "no/page.html"], ["-o", "a.html", "--sample-key", "x"]]
)
def test_mistakes_are_told_before_cells_are_annotated(
    scfm: Scfm, h5ad: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scfm_scverse.tl.annotate", lambda *_, **__: pytest.fail("annotated for nothing"))
    result = scfm("report", h5ad, *arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("scfm: error:")
