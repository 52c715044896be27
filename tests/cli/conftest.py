"""Small files, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from support import small_counts

Scfm = Callable[..., Result]


@pytest.fixture
def scfm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scfm:
    """Run a command in an empty folder; whatever is no expected failure is raised here."""
    from scfm_scverse.cli.main import app

    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)

    return run


@pytest.fixture
def h5ad(tmp_path: Path) -> Path:
    """Thirty cells in an h5ad file, for what does not depend on the kind of file."""
    from scfm_scverse.io.files import write_adata

    path = tmp_path / "cells.h5ad"
    write_adata(small_counts(), path)
    return path


@pytest.fixture(params=["h5ad", "zarr"])
def cells(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Thirty cells in a file of either kind."""
    from scfm_scverse.io.files import write_adata

    path = tmp_path / f"cells.{request.param}"
    write_adata(small_counts(), path)
    return path
