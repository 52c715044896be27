"""Real cells, embedded once for all tests of this folder; every test gets a copy."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from anndata import AnnData

import scfm_scverse as scfm


@pytest.fixture(scope="session")
def embedded(read_cells: Callable[[str], AnnData]) -> Callable[[str], AnnData]:
    """Every third cell of a shared real set, embedded, by its name."""

    @cache
    def embed(name: str) -> AnnData:
        adata = read_cells(name)[::3].copy()
        scfm.tl.embed(adata)
        return adata

    return lambda name: embed(name).copy()
