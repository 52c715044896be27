"""The labelled and unlabelled cell sets of the shared folder as log values on rows of the gene table."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from scfm_scverse.genes import load_gene_table, resolve_genes

from .labels import BROAD, broad_of_term

# Files that hold cells of one study or one donor, and leave training together.
GROUPS = {
    "pancreas_baron_human": "baron",
    "pancreas_human_mouse_mini": "baron",
    "zheng_sorted_pbmc": "zheng",
    "pbmc_frozen_A_unlabelled": "zheng",
    "fetal_7organs_geact": "geact_fetal",
    "fetal_gut_geact": "geact_fetal",
    "tian2019_celllines": "tian",
}
HUMAN = (
    "blood_sorted_malbac", "brain_darmanis", "brain_fetal_camp", "brain_m1_panel140", "breast_cells_nuclei_mini",
    "breast_tumour_flex100", "copykat_tnbc302", "crc_4210genes", "ding_pbmc_2tech_2000genes", "embryo_yan",
    "fetal_7organs_geact", "fetal_gut_geact", "hesc_endothelial_chu100", "ipsc_lung_progenitors", "kang_ifnb_pbmc",
    "malt_lymphoma_10x", "oligodendroglioma184", "pancreas_baron_human", "pancreas_human_mouse_mini", "pbmc3k_10x",
    "pbmc_frozen_A_unlabelled", "pbmc_hao1000_unlabelled", "pbmc_multi_study_unlabelled", "puram_hnscc180",
    "sade_feldman_til550", "skin_ctcl_unlabelled", "symphony_pbmc_3chem_1767genes", "tcells_10x_5p_1k",
    "triana_marrow250_462genes", "zheng_sorted_pbmc", "zilionis_nsclc",
)  # fmt: skip
TASKS = ("citeseq_pbmc_10k5k", "eccite_pbmc_500", "tian2019_celllines")
TOTALS = {"total_counts_all_genes", "libsize"}


@dataclass(frozen=True)
class Study:
    """Cells of one file.

    ``values`` [n, g] are log(1 + counts per 10,000); ``rows`` [g] say which gene of the table a column is; ``broad``,
    ``term`` and ``label`` are '' where unknown; ``malignant`` marks malignant cells, which never train.
    """

    name: str
    group: str
    values: sp.csr_matrix
    rows: NDArray[np.int32]
    label: NDArray[np.str_]
    term: NDArray[np.str_]
    broad: NDArray[np.str_]
    malignant: NDArray[np.bool_]

    def take(self, cells: NDArray) -> Study:
        """The same study with some of its cells."""
        picked = {key: getattr(self, key)[cells] for key in ("values", "label", "term", "broad", "malignant")}
        return replace(self, **picked)


def load_studies(shared: Path) -> list[Study]:
    """Read every human cell set."""
    labels = _author_labels(shared)
    cells = [_read(shared, "cells", name, labels) for name in HUMAN]
    return cells + [_read(shared, "tasks", name, labels) for name in TASKS]


def _author_labels(shared: Path) -> pd.DataFrame:
    tables = [pd.read_csv(shared / f"data/cells/labels_{part}.tsv", sep="\t", keep_default_na=False) for part in "ABC"]
    return pd.concat(tables, ignore_index=True)


def _read(shared: Path, folder: str, name: str, labels: pd.DataFrame) -> Study:
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells  # the reader that comes with the data

    adata = read_cells(shared / "data" / folder / f"{name}.cells")
    if "species" in adata.obs:
        adata = adata[adata.obs["species"] == "human"].copy()
    values, rows = log_values(adata)
    label, term, broad = _labels(adata, name, labels)
    return Study(
        name=name,
        group=GROUPS.get(name, name),
        values=values,
        rows=rows,
        label=label,
        term=term,
        broad=broad,
        malignant=broad == "malignant",
    )


def log_values(adata) -> tuple[sp.csr_matrix, NDArray[np.int32]]:
    """Log values of the genes that the table knows, one column a gene, duplicated names summed."""
    counts = sp.csr_matrix(adata.X, dtype=np.float32)
    known = [column for column in TOTALS if column in adata.obs]
    total = adata.obs[known[0]].to_numpy(float) if known else np.asarray(counts.sum(1), float).ravel()
    match = resolve_genes(adata.var_names.to_numpy(), organism="human")
    genes, column = np.unique(match.rows[match.rows >= 0], return_inverse=True)
    merge = sp.csr_matrix(
        (np.ones(len(column), np.float32), (np.flatnonzero(match.rows >= 0), column)),
        shape=(adata.n_vars, len(genes)),
    )
    scaled = sp.diags_array(1e4 / np.maximum(total, 1e-9)) @ (counts @ merge)
    out = sp.csr_matrix(scaled, dtype=np.float32)
    out.data = np.log1p(out.data)
    return out, genes.astype(np.int32)


def _labels(adata, name: str, labels: pd.DataFrame) -> tuple[NDArray, NDArray, NDArray]:
    none = np.full(adata.n_obs, "", dtype="<U60")
    if "cell_type" not in adata.obs:
        return none, none.copy(), none.copy()
    label = adata.obs["cell_type"].astype(str).to_numpy().astype("<U60")
    if "cell_type_ontology" not in adata.obs:
        return none, none.copy(), none.copy()
    term = adata.obs["cell_type_ontology"].astype(str).to_numpy().astype("<U60")
    term[~np.char.startswith(term, "CL:")] = ""
    if "cell_type_broad" in adata.obs:
        broad = adata.obs["cell_type_broad"].astype(str).to_numpy().astype("<U60")
    else:
        of_label = labels[labels["file"] == f"{name}.cells"].set_index("author_label")["broad_label"].to_dict()
        broad = np.array([of_label.get(one, broad_of_term(of)) for one, of in zip(label, term, strict=True)], "<U60")
    broad[~np.isin(broad, [*BROAD, "malignant"])] = ""
    term[broad == "malignant"] = ""
    return label, term, broad


def gene_symbols(rows: NDArray[np.int32]) -> NDArray[np.str_]:
    """Approved symbols of rows of the gene table."""
    return load_gene_table().symbol[rows]
