"""Averaged expression profiles: read, mapped to rows of the gene table, and turned into simulated cells."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from scfm_scverse.genes import resolve_genes

from .labels import broad_of_term
from .studies import Study

STEP = 0.0545  # log1p(CPM) per code, as the collections' readme states
UNKNOWN = 255


@dataclass(frozen=True)
class Profiles:
    """Average expression of cell types: ``cpm`` [p, g], NaN where a gene was not measured."""

    name: str
    cpm: NDArray[np.float32]
    rows: NDArray[np.int32]
    label: NDArray[np.str_]
    tissue: NDArray[np.str_]
    term: NDArray[np.str_]
    group: NDArray[np.str_]

    def take(self, keep: NDArray) -> Profiles:
        """The same collection with some of its profiles."""
        picked = {key: getattr(self, key)[keep] for key in ("cpm", "label", "tissue", "term", "group")}
        return replace(self, **picked)


def load_profiles(shared: Path) -> list[Profiles]:
    """The human collections in counts per million; bulk tissues and compressed scales stay out."""
    return [_read(shared, name) for name in ("human_tissue_profiles", "hcl_profiles", "human_extra_profiles")]


def _read(shared: Path, name: str) -> Profiles:
    about = pd.read_csv(shared / f"data/profiles/{name}.tsv", sep="\t", keep_default_na=False)
    with np.load(shared / f"data/profiles/{name}.npz") as file:
        codes, genes = file["codes"], file["genes"]
    keep = np.ones(len(about), bool)
    if "scale" in about:
        keep &= (about["scale"] == "cpm").to_numpy()
    source = about["source"] if "source" in about else pd.Series(name, index=about.index)
    keep &= ~source.str.contains("GTEx").to_numpy()
    match = resolve_genes(genes.astype(str), organism="human")
    rows, first = np.unique(match.rows, return_index=True)
    rows, first = rows[rows >= 0], first[rows >= 0]
    codes = codes[np.ix_(first, np.flatnonzero(keep))].T
    cpm = np.expm1(STEP * codes.astype(np.float32))
    cpm[codes == UNKNOWN] = np.nan
    about, source = about[keep], source[keep]
    group = np.where(source.str.contains("Baron"), "baron", "")
    return Profiles(
        name=name,
        cpm=cpm.astype(np.float32),
        rows=rows.astype(np.int32),
        label=about["label"].to_numpy(str),
        tissue=about["tissue"].to_numpy(str),
        term=about["cl_id"].to_numpy(str),
        group=group.astype(str),
    )


def simulate(profiles: Profiles, *, per_profile: int, random_state: int) -> Study:
    """Cells drawn from profiles with a term: gamma noise (shape 3) per gene and cell, Poisson at 800 to 8,000 counts.

    The log values are scaled as those of real cells. Genes that a profile lacks stay zero.
    """
    rng = np.random.default_rng(random_state)
    chosen = profiles.take(profiles.term != "")
    pick = np.repeat(np.arange(len(chosen.term)), per_profile)
    rate = np.nan_to_num(chosen.cpm[pick]) / 1e6
    depth = np.exp(rng.uniform(np.log(800), np.log(8000), size=(len(pick), 1)))
    counts = rng.poisson(rate * depth * rng.gamma(3.0, 1 / 3.0, size=rate.shape)).astype(np.float32)
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    term = chosen.term[pick]
    return Study(
        name=f"simulated_{profiles.name}",
        group="profiles",
        values=sp.csr_matrix(np.log1p(1e4 * counts / total), dtype=np.float32),
        rows=chosen.rows,
        label=chosen.label[pick],
        term=term,
        broad=np.array([broad_of_term(one) for one in term], dtype="<U60"),
        malignant=np.zeros(len(pick), bool),
    )
