"""Notebooks of the docs run from top to bottom, offline, and are stored with what they print."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted([*(ROOT / "docs").glob("*.ipynb"), *(ROOT / "tutorials").glob("*.ipynb")])

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _kinds(cell: Any) -> list[str]:
    """What a cell puts out: streams by their name, results by their types; a stream may come in pieces."""
    kinds = [
        output["name"] if output["output_type"] == "stream" else ",".join(sorted(output["data"]))
        for output in cell["outputs"]
    ]
    return list(dict.fromkeys(kinds))


@every_notebook
def test_notebook_runs_and_is_stored_with_its_outputs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing listens there: what tries to download fails.
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    # A reader's notebook draws into its page, whatever this process draws to.
    monkeypatch.delenv("MPLBACKEND", raising=False)
    stored = nbformat.read(path, as_version=4)
    fresh = nbformat.read(path, as_version=4)
    NotebookClient(fresh, timeout=120, resources={"metadata": {"path": tmp_path}}).execute()
    for old, new in zip(stored.cells, fresh.cells, strict=True):
        if new["cell_type"] == "code":
            assert _kinds(old) == _kinds(new), new["source"]


@every_notebook
def test_notebook_is_small_and_shows_no_errors_nor_warnings(path: Path) -> None:
    assert path.stat().st_size < 1_000_000
    outputs = [output for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])]
    assert {output["output_type"] for output in outputs} >= {"stream", "execute_result"}
    assert all(output["output_type"] != "error" for output in outputs)
    assert not [text for output in outputs if "Warning" in (text := output.get("text", ""))]
