"""What a model says of perturbations, through the verbs that a user would call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

import scfm_scverse as scfm
from scfm_scverse.genes import resolve_genes
from scfm_scverse.models import CellModel
from scfm_scverse.perturbation import Kind

# Cells are drawn, and genes of like expression chosen, once for all rows: no null of the verb's own is read.
EVERY_CELL: dict[str, Any] = {"min_cells": 1, "max_cells": None, "n_null": 2}


def load(paths: list[str]) -> dict[str, CellModel]:
    """Load models; a checkpoint is called by its file or folder."""
    return {Path(path).stem: scfm.models.load(path) for path in paths}


def known(adata: AnnData, model: CellModel) -> NDArray[np.bool_]:
    """Which genes of the data the model knows, [g]."""
    return model.positions(resolve_genes(adata.var_names.tolist(), organism="human"), None) >= 0


def answered(adata: AnnData, model: CellModel, genes: list[str]) -> list[str]:
    """Genes that a model can delete in some of the cells."""
    expressed = np.asarray((adata.X > 0).sum(axis=0)).ravel() > 0
    able = set(adata.var_names[known(adata, model) & expressed])
    return [gene for gene in genes if gene in able]


def answered_by_all(adata: AnnData, models: dict[str, CellModel], genes: list[str]) -> list[str]:
    """Genes that every model can delete in some of the cells."""
    for model in models.values():
        genes = answered(adata, model, genes)
    return genes


def changes(adata: AnnData, model: CellModel, genes: list[str]) -> pd.DataFrame | None:
    """Mean change of expression in the cells where one gene at a time is deleted, 0 for genes that it does not tell.

    ``None`` for a model that decodes no expression.
    """
    if "expression" not in model.spec.outputs:
        return None
    told = adata.var_names[known(adata, model)].tolist()
    out = {}
    for gene in answered(adata, model, genes):
        asked = AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
        scfm.tl.perturb(asked, gene, model=model, genes_out=told)
        out[gene] = np.asarray(asked.layers["scfm_delta"].mean(axis=0), np.float64).ravel()
    return pd.DataFrame(out, adata.var_names).T


def effects(adata: AnnData, model: CellModel, genes: list[str]) -> pd.Series:
    """1 - cosine to the cell without one gene at a time, mean of the cells that hold it."""
    asked = AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]])
    table = scfm.tl.rank_perturbations(asked, answered(adata, model, genes), model=model, **EVERY_CELL)
    return table.set_index("perturbation")["effect"].dropna()


def shifts(adata: AnnData, model: CellModel, genes: list[str], kind: Kind) -> pd.Series:
    """Change of the cosine of control cells to the mean of those under interferon, for each perturbation."""
    asked = AnnData(adata.X, obs=adata.obs[["condition"]], var=adata.var[[]])
    states = {"state_key": "condition", "start": "control", "goal": "IFN-beta"}
    table = scfm.tl.rank_perturbations(asked, genes, kind=kind, model=model, **states, **EVERY_CELL)
    return table.set_index("perturbation")["shift_goal"].dropna()
