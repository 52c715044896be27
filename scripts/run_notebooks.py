"""Run notebooks from top to bottom and store them with what they print.

    python scripts/run_notebooks.py [docs/getting_started.ipynb ...]

Without arguments every notebook of the docs and the tutorials. Files that a notebook writes go to a temporary folder.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted([*(ROOT / "docs").glob("*.ipynb"), *(ROOT / "tutorials").glob("*.ipynb")])


def run(path: Path) -> None:
    """Run one notebook and store it in its place."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=600, record_timing=False, resources={"metadata": {"path": folder}}).execute()
    # What differs from one machine to the next is no part of the page.
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, default=NOTEBOOKS)
    # umap-learn asks for widgets that no page shows.
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"
    for path in parser.parse_args().notebooks:
        run(path)
        print(f"wrote {path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
