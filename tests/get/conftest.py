"""Real cells, annotated once; every test gets a copy."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from anndata import AnnData

import scfm_scverse as scfm


@pytest.fixture(scope="session")
def annotated() -> Callable[[], AnnData]:
    """The blood cells that come with scanpy, annotated."""
    import scanpy as sc

    adata = sc.datasets.pbmc68k_reduced()
    scfm.tl.annotate(adata)
    return adata.copy
