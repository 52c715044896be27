"""The tables of the page, row by row, as plain values that the template lays out."""

from __future__ import annotations

import re
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import get
from .._record import read_record
from ..get._labels import names_of
from ..get._tables import MALIGNANT, UNKNOWN
from ..pl._palettes import MISSING_COLOR
from ._quality import Quality

if TYPE_CHECKING:
    from anndata import AnnData

N_MARKERS = 4
N_NEAREST = 8  # types that unknown cells come nearest to
TERM = re.compile(r"CL:\d{7}")
TERM_PAGE = "http://purl.obolibrary.org/obo/"

Row = dict[str, Any]


def type_rows(adata: AnnData, key: str, colors: dict[str, str]) -> list[Row]:
    """One row for each label, with its evidence where the reference has markers."""
    cells = get.annotation(adata, key=key).astype({"cell_type": str, "cell_type_fine": str})
    markers = _markers(adata, key)
    refused = cells.loc[cells["cell_type"] == UNKNOWN, "cell_type_fine"].value_counts()
    nearest = cells["cell_type_fine"].value_counts()
    rows = []
    for name, found in get.cell_types(adata, key=key).iterrows():
        label = str(name)
        no_type = label in {UNKNOWN, MALIGNANT}  # the confidence is that of the type that such a cell resembles
        rows.append(
            {
                "name": label,
                "color": colors.get(label, MISSING_COLOR),
                "n_cells": int(found["n_cells"]),
                "share": float(found["share"]),
                "confidence": None if no_type or isnan(found["mean_confidence"]) else float(found["mean_confidence"]),
                "term": str(found["ontology"]),
                "link": term_link(str(found["ontology"])),
                "from_profiles": bool(found["from_profiles"] is not pd.NA and found["from_profiles"]),
                "refused": refused.get(label, 0) / nearest[label] if label in nearest and not no_type else None,
                "markers": markers.get(label, []),
            }
        )
    return rows


def term_link(term: str) -> str:
    """Return the page of a term, "" for anything else."""
    return TERM_PAGE + term.replace(":", "_") if TERM.fullmatch(term) else ""


def _markers(adata: AnnData, key: str) -> dict[str, list[Row]]:
    if "markers" not in (read_record(adata, "annotate", key) or {}):
        return {}
    table = get.evidence(adata, key=key, n_genes=N_MARKERS)
    found: dict[str, list[Row]] = {}
    for row in table.to_dict("records"):
        found.setdefault(row["cell_type"], []).append({str(name): value for name, value in row.items()})
    return found


def has_copy_number(adata: AnnData, key: str) -> bool:
    """Tell whether copy number was measured in any cell."""
    slot = f"X_{key}_copy_number"
    if read_record(adata, "copy_number", key) is None or slot not in adata.obsm:
        return False
    return bool(np.isfinite(np.asarray(adata.obsm[slot])).any())


def unknown_facts(adata: AnnData, key: str) -> Row:
    """How many cells were refused and why, and which types they came nearest to."""
    cells = get.annotation(adata, key=key).astype({"cell_type": str, "cell_type_fine": str})
    empty = cells["confidence"].isna() & cells["unknown_score"].isna()
    refused = cells[(cells["cell_type"] == UNKNOWN) & ~empty]
    nearest = refused["cell_type_fine"].value_counts()
    limit = (read_record(adata, "annotate", key) or {}).get("refuse_above")
    n_far = 0 if limit is None else int((refused["unknown_score"] > limit).sum())
    return {
        "n_cells": len(refused),
        "share": len(refused) / len(cells),
        "n_far": n_far,
        "n_unsure": len(refused) - n_far,
        "n_empty": int(empty.sum()),
        "limit": limit,
        "nearest": [(str(name), int(n)) for name, n in nearest.head(N_NEAREST).items()],
    }


def sample_rows(adata: AnnData, key: str, quality: Quality, sample_key: str) -> list[Row]:
    """One row for each sample: cells, medians of their quality, how sure the labels are."""
    cells = get.annotation(adata, key=key)
    table = pd.DataFrame(
        {
            "genes": quality.n_genes,
            "confidence": cells["confidence"].to_numpy(),
            "unknown": (cells["cell_type"].astype(str) == UNKNOWN).to_numpy(),
            "malignant": (cells["cell_type"].astype(str) == MALIGNANT).to_numpy(),
        }
    )
    table["counts"] = float("nan") if quality.total is None else quality.total
    table["mitochondrial"] = float("nan") if quality.mitochondrial is None else quality.mitochondrial
    grouped = table.groupby(names_of(adata, "sample_key", sample_key), observed=True)
    medians = grouped[["counts", "genes", "mitochondrial", "confidence"]].median()
    medians["n_cells"] = grouped.size()
    medians[["unknown", "malignant"]] = grouped[["unknown", "malignant"]].mean()
    return [
        {"name": str(name), **{str(fact): None if isnan(value) else float(value) for fact, value in row.items()}}
        for name, row in medians.iterrows()
    ]


def group_rows(adata: AnnData, key: str) -> list[Row]:
    """One row for each group that a consensus label was asked for; none where it was not."""
    groupby = (read_record(adata, "annotate", key) or {}).get("groupby")
    cells = get.annotation(adata, key=key)
    if not groupby or groupby not in adata.obs or "group_cell_type" not in cells or adata.obs[groupby].isna().all():
        return []
    grouped = cells.groupby(names_of(adata, "groupby", groupby), observed=True)
    return [
        {
            "name": str(name),
            "label": str(group["group_cell_type"].iloc[0]),
            "share": None if isnan(group["group_share"].iloc[0]) else float(group["group_share"].iloc[0]),
            "n_cells": len(group),
        }
        for name, group in grouped
    ]
