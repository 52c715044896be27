"""Whether genes that tolerate no loss show larger effects when they are deleted in blood cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData
from screens_baselines import removal_effects
from screens_data import draw, log_values, read_dosage, read_gene_labels, read_set
from screens_models import effects, known
from screens_scores import auroc, deciles, put

from scfm_scverse.models import CellModel

CELLS = 500
EXPRESSED = 0.01  # share of cells in which a gene is seen
INTOLERANT, TOLERANT = 0.35, 1.0  # LOEUF


def contrasts(shared: Path) -> dict[str, pd.Series]:
    """For each contrast its genes, and whether each is of the class that should show larger effects."""
    labels = read_gene_labels(shared)
    lists = {
        "ClinGen": (labels["clingen_haploinsufficient_2018"], labels["homozygous_lof_tolerant"]),
        "LOEUF": (labels["LOEUF"] < INTOLERANT, labels["LOEUF"] > TOLERANT),
    }
    out = {title: positive[positive != negative] for title, (positive, negative) in lists.items()}
    return out | {"TF dosage": read_dosage(shared)}


def run(shared: Path, models: dict[str, CellModel], seeds: list[int]) -> dict[str, Any]:
    """AUROC of every row for every contrast, plain and within tenths of expression, a list over seeds."""
    adata = read_set(shared, "cells/kang_ifnb_pbmc")
    adata = adata[(adata.obs["condition"] == "control").to_numpy()].copy()
    seen = np.asarray((adata.X > 0).mean(axis=0)).ravel() >= EXPRESSED
    told = np.all([known(adata, model) for model in models.values()], axis=0)
    classes = contrasts(shared)
    labelled = adata.var_names.isin([gene for genes in classes.values() for gene in genes.index])
    genes = adata.var_names[seen & told & labelled].tolist()
    expression = pd.Series(log_values(adata.X)[:, adata.var_names.get_indexer(genes)].mean(axis=0), genes)
    results: dict[str, Any] = {"cells": adata.n_obs, "genes": len(genes), "classes": {}, "scores": {}}
    for title, positive in classes.items():
        there = positive[positive.index.isin(genes)]
        results["classes"][title] = [int(there.sum()), int((~there).sum())]
    for seed in seeds:
        cells = adata[draw(adata.n_obs, CELLS, seed)].copy()
        for row, effect in rows_of(cells, genes, models).items():
            for title, positive in classes.items():
                tested = effect.dropna().index.intersection(positive.index)
                score, truth = effect[tested].to_numpy(), positive[tested].to_numpy(bool)
                tenth = deciles(expression[tested].to_numpy())
                put(results["scores"], row, title, "AUROC", auroc(score, truth))
                put(results["scores"], row, title, "within tenths", auroc(score, truth, tenth))
    return results


def rows_of(cells: AnnData, genes: list[str], models: dict[str, CellModel]) -> dict[str, pd.Series]:
    """What each row gives each gene."""
    values = log_values(cells.X)
    columns = cells.var_names.get_indexer(genes)
    share = pd.Series((values[:, columns] > 0).mean(axis=0), genes)
    rows = removal_effects(values, columns, genes)
    rows |= {name: effects(cells, model, genes) for name, model in models.items()}
    of_all = {f"{row}, times share of cells": size * share for row, size in rows.items()}
    mean = pd.Series(values[:, columns].mean(axis=0), genes)
    return {"mean expression": mean, "share of cells": share} | rows | of_all
