"""Cells of the benchmark of fine-tuning: two splits with donors or a study held out, and unlabelled cells of others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anndata as ad
import numpy as np
from anndata import AnnData
from screens_data import read_set

# None of their cells is one of the splits'.
CORPUS = (
    "pbmc_hao1000_unlabelled",
    "pbmc_multi_study_unlabelled",
    "pbmc_frozen_A_unlabelled",
    "symphony_pbmc_3chem_1767genes",
    "malt_lymphoma_10x",
    "tcells_10x_5p_1k",
)
STUDIES = ("kang_ifnb_pbmc", "zheng_sorted_pbmc", "pbmc3k_10x")  # of the splits
PER_STUDY = 2000
N_GENES = 5000
N_TRAIN = 3000  # of the 7,348 cells of two studies, so that all runs end in an evening on two cores
HELD_OUT_DONORS = ("101", "1488")
LABEL = "label"


@dataclass(frozen=True)
class Split:
    """Cells to learn from and cells to name, both with ``obs["label"]`` and ``obs["donor"]``."""

    name: str
    train: AnnData
    query: AnnData


def donors_left_out(shared: Path) -> Split:
    """Thirteen types of blood cells, two of eight donors held out."""
    adata = read_set(shared, "cells/kang_ifnb_pbmc")
    adata.obs[LABEL] = adata.obs["cell_type"].astype(str)
    asked = adata.obs["donor"].isin(HELD_OUT_DONORS).to_numpy()
    return Split("Kang, donors 101 and 1488", adata[~asked].copy(), adata[asked].copy())


def study_left_out(shared: Path) -> Split:
    """Broad types of blood cells, learnt from two studies and asked of a third."""
    parts = []
    for name in STUDIES[:2]:
        part = read_set(shared, f"cells/{name}")
        part.obs["donor"] = f"{name} " + part.obs["donor"].astype(str)
        parts.append(part)
    train = ad.concat(parts, join="inner", index_unique="-")
    train = train[np.sort(np.random.default_rng(0).permutation(train.n_obs)[:N_TRAIN])].copy()
    query = read_set(shared, "cells/pbmc3k_10x")
    for adata in (train, query):
        adata.obs[LABEL] = adata.obs["cell_type_coarse"].astype(str)
    return Split("Kang and Zheng -> 10x 3k", train, query)


SPLITS: dict[str, Callable[[Path], Split]] = {"donors": donors_left_out, "study": study_left_out}


def read_corpus(shared: Path, *, random_state: int = 0) -> AnnData:
    """Unlabelled cells of six other studies, at most 2,000 of each; genes that a study lacks count as zero."""
    rng = np.random.default_rng(random_state)
    parts = []
    for name in CORPUS:
        part = read_set(shared, f"cells/{name}")
        chosen = rng.permutation(part.n_obs)[:PER_STUDY]
        part = AnnData(part.X[np.sort(chosen)], var=part.var[[]])
        part.obs["study"] = name
        parts.append(part)
    return ad.concat(parts, join="outer", fill_value=0, index_unique="-")


def vocabulary(corpus: AnnData) -> list[str]:
    """The genes that most cells of the corpus express."""
    seen = np.asarray((corpus.X > 0).sum(axis=0)).ravel()
    return corpus.var_names[np.argsort(-seen, kind="stable")[:N_GENES]].tolist()
