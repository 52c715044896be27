"""Cells, tables and gene sets of the benchmark of screens, all under today's symbols."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scfm_scverse.genes import load_gene_table, resolve_genes

TARGET_SUM = 1e4


def current_symbols(names: list[str], *, ids: list[str] | None = None) -> list[str]:
    """Today's symbol of each gene; a name that nobody knows stays as it is."""
    rows = resolve_genes(names, ids=ids, organism="human").rows
    symbol = load_gene_table().symbol
    return [str(symbol[row]) if row >= 0 else name for name, row in zip(names, rows, strict=True)]


def read_set(shared: Path, name: str) -> AnnData:
    """Read a set of cells; of columns that stand for one gene the first is kept."""
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells  # the reader that comes with the data

    adata = read_cells(shared / "data" / f"{name}.cells")
    adata.var_names = current_symbols(adata.var_names.tolist())
    return adata[:, ~adata.var_names.duplicated()].copy()


def read_gene_set(shared: Path, name: str) -> list[str]:
    """Genes of a set, in the order of the file."""
    with gzip.open(shared / "data" / "genes" / "gene_sets.gmt.gz", "rt") as lines:
        for line in lines:
            title, _, *genes = line.rstrip("\n").split("\t")
            if title == name:
                return list(dict.fromkeys(current_symbols(genes)))
    msg = f"No gene set is called {name!r}."
    raise KeyError(msg)


def read_interferon_genes(shared: Path) -> set[str]:
    """Genes of any set whose title speaks of interferon."""
    found: set[str] = set()
    with gzip.open(shared / "data" / "genes" / "gene_sets.gmt.gz", "rt") as lines:
        for line in lines:
            title, _, *genes = line.rstrip("\n").split("\t")
            if "interferon" in title.lower():
                found |= set(genes)
    return set(current_symbols(sorted(found)))


def read_edges(shared: Path) -> pd.DataFrame:
    """Mean effect of each knock-down on each gene that responds to it, over conditions; the targets are left out."""
    edges = pd.read_parquet(shared / "data" / "tasks" / "cd4_crispri_edges30.parquet")
    for column in ("perturbed_gene", "measured_gene"):
        names = edges[column].astype(str).unique().tolist()
        edges[column] = edges[column].astype(str).map(dict(zip(names, current_symbols(names), strict=True)))
    edges = edges[edges["perturbed_gene"] != edges["measured_gene"]]
    return edges.groupby(["perturbed_gene", "measured_gene"])["log_fc"].mean().unstack()


def read_gene_labels(shared: Path) -> pd.DataFrame:
    """Constraint and clinical lists, by symbol."""
    table = pd.read_parquet(shared / "data" / "tasks" / "gene_labels.parquet")
    table.index = current_symbols(table["symbol"].tolist(), ids=table["ensembl"].fillna("").tolist())
    return table[~table.index.duplicated()]


def read_dosage(shared: Path) -> pd.Series:
    """Transcription factors by dosage sensitivity: whether each is sensitive."""
    table = pd.read_csv(shared / "data" / "genesets" / "geneformer_tasks.tsv.xz", sep="\t", keep_default_na=False)
    table = table[table["task"] == "dosage_sensitivity_tf"]
    names = current_symbols(table["name"].tolist(), ids=table["ensembl"].tolist())
    sensitive = pd.Series((table["class"] == "dosage_sensitive").to_numpy(), names)
    return sensitive[~sensitive.index.duplicated()]


def log_values(counts: sp.csr_matrix, target_sum: float = TARGET_SUM) -> NDArray[np.float32]:
    """Log of one plus counts scaled to one total, dense."""
    values = np.asarray(counts.toarray(), np.float32)
    total = np.maximum(values.sum(axis=1, keepdims=True), 1)
    return np.log1p(values / total * np.float32(target_sum))


def draw(n: int, size: int, seed: int) -> NDArray[np.int64]:
    """Some of ``n`` cells without replacement, in order; all of them where there are no more."""
    chosen = np.random.default_rng(seed).permutation(n)[:size]
    return np.sort(chosen)
