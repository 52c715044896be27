"""Notebooks of the docs run from top to bottom, offline, and are stored with what they print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from run_notebooks import CELLS, CELLS_VARIABLE, NOTEBOOKS, ROOT, execute

# Half a minute and more.
LONG = {
    "annotate_a_biopsy",
    "fine_tune_on_your_atlas",
    "knock_outs_in_a_biopsy",
    "pretrain_from_scratch",
    "published_models",
}
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _kinds(cell: Any) -> list[str]:
    """What a cell puts out: streams by their name, results by their types; a stream may come in pieces."""
    kinds = [
        output["name"] if output["output_type"] == "stream" else ",".join(sorted(output["data"]))
        for output in cell["outputs"]
    ]
    return list(dict.fromkeys(kinds))


def _texts(cell: Any) -> list[str]:
    return ["".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream"]


@pytest.mark.parametrize(
    "path", [pytest.param(path, marks=[pytest.mark.slow] * (path.stem in LONG), id=path.stem) for path in NOTEBOOKS]
)
def test_notebook_runs_and_is_stored_with_its_outputs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if path.stem in CELLS:
        read_cells = request.getfixturevalue("read_cells")
        read_cells(CELLS[path.stem]).write_h5ad(tmp_path / "cells.h5ad")
        monkeypatch.setenv(CELLS_VARIABLE, str(tmp_path / "cells.h5ad"))
    # Nothing listens there: what tries to download fails.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # A reader's notebook draws into its page, whatever this process draws to.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    stored = nbformat.read(path, as_version=4)
    fresh = execute(path, tmp_path)
    for old, new in zip(stored.cells, fresh.cells, strict=True):
        if new["cell_type"] == "code":
            assert _kinds(old) == _kinds(new), new["source"]
            assert "Warning" not in "".join(_texts(new)), new["source"]


@every_notebook
def test_notebook_is_small_and_shows_no_errors_nor_warnings(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell["cell_type"] == "code"]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} >= {"stream", "execute_result"}
    assert all(output["output_type"] != "error" for output in outputs)
    assert not [text for cell in cells for text in _texts(cell) if "Warning" in text]


@every_notebook
def test_notebook_names_no_place_of_this_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not [place for place in ("../shared", "/tmp/", "/home/", str(ROOT)) if place in text]
