"""``scfm demo``: the first thing that a new user sees."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from typer.testing import Result

from scfm_scverse.io.files import read_adata, write_adata
from support import small_counts

Scfm = Callable[..., Result]
PNG = b"\x89PNG"


def test_demo_annotates_and_draws_the_cells_that_scanpy_brings(scfm: Scfm, tmp_path: Path) -> None:
    result = scfm("demo")
    assert result.exit_code == 0
    text = result.stdout
    assert "Took the log-normalised values of raw.X: 765 genes" in text
    assert "700 cells in " in text
    assert "cells/s" in text
    assert "over 700 of 700 cells" in text
    assert "zheng_sorted_pbmc and pbmc_frozen_A" in text
    assert text.isascii()
    found = read_adata(tmp_path / "scfm_demo" / "pbmc68k_annotated.h5ad")
    assert {"bulk_labels", "scfm_cell_type", "scfm_confidence"} <= set(found.obs)
    assert "X_scfm" in found.obsm
    picture = tmp_path / "scfm_demo" / "pbmc68k_annotated.png"
    assert picture.read_bytes()[:4] == PNG
    assert picture.stat().st_size < 400_000


def test_demo_does_the_same_with_a_file(scfm: Scfm, cells: Path) -> None:
    adata = small_counts()
    adata.obs["author"] = "T cell"
    write_adata(adata, cells)
    result = scfm("demo", cells, "--labels-key", "author")
    assert result.exit_code == 0
    assert "over 30 of 30 cells" in result.stdout
    assert "zheng" not in result.stdout
    found = read_adata(cells.parent / "scfm_demo" / f"cells_annotated{cells.suffix}")
    assert {"author", "scfm_cell_type"} <= set(found.obs)
    assert (cells.parent / "scfm_demo" / "cells_annotated.png").read_bytes()[:4] == PNG
    assert "scfm_cell_type" not in read_adata(cells).obs


def test_labels_of_the_demo_cells_cannot_be_chosen(scfm: Scfm) -> None:
    result = scfm("demo", "--labels-key", "louvain")
    assert result.exit_code == 2
    assert "needs FILE" in result.stderr
