"""Run notebooks from top to bottom and store them with what they print.

    python scripts/run_notebooks.py [docs/getting_started.ipynb ...] [--shared ../shared]

Without names every notebook of the docs and the tutorials. Files that a notebook writes go to a temporary folder.
Tutorials read shared copies of public cells instead of downloading them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted([*(ROOT / "docs").glob("*.ipynb"), *(ROOT / "tutorials").glob("*.ipynb")])
CELLS = {
    "annotate_a_biopsy": "zilionis_nsclc",
    "build_a_reference": "kang_ifnb_pbmc",
    "fine_tune_on_your_atlas": "kang_ifnb_pbmc",
    "knock_outs_in_a_biopsy": "sade_feldman_til550",
    "pretrain_from_scratch": "pbmc3k_10x",
    "published_models": "pbmc3k_10x",
}
BESIDE = {"published_models": "tiny_checkpoints"}  # folders that a notebook expects beside it
CELLS_VARIABLE = "SCFM_TUTORIAL_CELLS"


def execute(path: Path, folder: Path) -> Any:
    """Run one notebook in a folder and return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    if path.stem in BESIDE:
        shutil.copytree(path.parent / BESIDE[path.stem], folder / BESIDE[path.stem])
    client = NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": folder}})
    # umap-learn asks for widgets that no page shows.
    client.execute(env={**os.environ, "PYTHONWARNINGS": "ignore:IProgress not found"})
    return notebook


def run(path: Path, shared: Path) -> None:
    """Run one notebook and store it in its place."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.pop(CELLS_VARIABLE, None)
        if path.stem in CELLS:
            cells = Path(folder) / "cells.h5ad"
            unpack(CELLS[path.stem], shared, cells)
            os.environ[CELLS_VARIABLE] = str(cells)
        notebook = execute(path, Path(folder))
    # What differs from one machine to the next is no part of the page.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def unpack(name: str, shared: Path, path: Path) -> None:
    """Write one of the shared cell sets to an .h5ad file."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    read_cells(shared / "data" / "cells" / f"{name}.cells").write_h5ad(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    arguments = parser.parse_args()
    for path in arguments.notebooks:
        run(path, arguments.shared)
        print(f"wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
