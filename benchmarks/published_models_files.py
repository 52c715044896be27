"""Cells, and checkpoints of published size in the layouts that the authors release, with random weights."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from embed import ROOT, cell_blocks

sys.path.insert(0, str(ROOT / "scripts"))
from random_checkpoints import PUBLISHED, write_checkpoint

LAYOUTS = {
    "scGPT": "scgpt",
    "Geneformer V1-10M": "geneformer-v1",
    "Geneformer V2-104M": "geneformer-v2",
    "scFoundation": "scfoundation",
    "scBERT": "scbert",
}
N_CELLS = 64
EXPRESSED, LOW, HIGH = 850, 600, 1200


def make_cells(path: Path, shared: Path) -> dict[str, Any]:
    """Write ``N_CELLS`` cells with 600 to 1,200 expressed genes."""
    import numpy as np
    import scipy.sparse as sp
    from anndata import AnnData

    names, word, blocks = cell_blocks(10 * N_CELLS, EXPRESSED, shared)
    counts = sp.vstack(list(blocks), format="csr")
    expressed = np.diff(counts.indptr)
    kept = np.flatnonzero((expressed >= LOW) & (expressed <= HIGH))[:N_CELLS]
    adata = AnnData(counts[kept])
    adata.var_names = names
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    adata.write_h5ad(path)
    spread = expressed[kept]
    return {"source": word, "expressed": [int(spread.min()), round(float(spread.mean())), int(spread.max())]}


def make_checkpoint(name: str, folder: Path) -> Path:
    """Write a checkpoint and return the path that ``models.load`` takes."""
    return write_checkpoint(LAYOUTS[name], folder, None, sizes=PUBLISHED)
