"""Cells with an embedding and an annotation made by hand, so that every number drawn is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scfm_scverse._record import record

LABELS = ("B cell", "CD4-positive, CD25-positive, alpha-beta regulatory T cell", "monocyte", "unknown")
PER_LABEL = 30


@pytest.fixture(autouse=True)
def _closed_figures() -> Iterator[None]:
    plt.switch_backend("agg")
    plt.close("all")  # what a test elsewhere left open in this process
    yield
    plt.close("all")


@pytest.fixture
def cells() -> AnnData:
    """Four groups far apart: ``X_scfm`` in 16 dimensions, ``X_flat`` in two; the last two cells have no embedding."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(len(LABELS)), PER_LABEL)
    n = len(group)
    adata = AnnData(np.ones((n, 3), np.float32))
    wide = rng.normal(0, 20, (len(LABELS), 16))[group] + rng.normal(0, 1, (n, 16))
    flat = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])[group] + rng.normal(0, 1, (n, 2))
    for key, values in (("X_scfm", wide), ("X_flat", flat)):
        adata.obsm[key] = values.astype(np.float32)
        adata.obsm[key][-2:] = np.nan
    adata.obs["scfm_cell_type"] = pd.Categorical(np.array(LABELS, object)[group])
    adata.obs["scfm_cell_type_fine"] = adata.obs["scfm_cell_type"]
    adata.obs["scfm_cell_type_ontology"] = pd.Categorical(["CL:0000000"] * n)
    for name in ("confidence", "unknown_score"):
        adata.obs[f"scfm_{name}"] = rng.random(n).astype(np.float32)
        adata.obs.loc[adata.obs_names[-2:], f"scfm_{name}"] = np.nan
    record(adata, "embed", "X_scfm", {"model_id": "toy:1"})
    classes = {"labels": LABELS[:3], "labels_from_profiles": [False, True, False], "refuse_above": 0.8}
    record(adata, "annotate", "scfm", classes)
    return adata


@pytest.fixture
def many(cells: AnnData) -> Callable[[int], AnnData]:
    """The first hundred cells again and again, until there are so many."""

    def repeat(n: int) -> AnnData:
        rows = np.resize(np.arange(100), n)
        obs = cells.obs.iloc[rows].set_axis([f"cell{i}" for i in range(n)])
        return AnnData(obs=obs, obsm={"X_flat": cells.obsm["X_flat"][rows]}, uns=cells.uns)

    return repeat
