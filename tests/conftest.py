"""Fixtures that every test may use."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from anndata import AnnData

# Workers share the cores: one thread each, of torch and of numba, which changes torch's number otherwise.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

# The first example of a test may have to import or compile a lot.
hypothesis.settings.register_profile("scfm", deadline=None)
hypothesis.settings.load_profile("scfm")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute with one thread: sums differ in their last bits with the number, and numba's users change torch's."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
