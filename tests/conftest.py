"""Fixtures that every test may use."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from anndata import AnnData

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of facts and data that stands beside the project."""
    if not (SHARED / "README.md").is_file():
        pytest.skip(f"needs the shared data folder at {SHARED}")
    return SHARED


@pytest.fixture(scope="session")
def read_cells(shared: Path) -> Callable[[str], AnnData]:
    """Read one of the shared real cell sets by its name, a fresh copy each time."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells as read

    def by_name(name: str) -> AnnData:
        return read(shared / "data" / "cells" / f"{name}.cells")

    return by_name
