"""How far an annotation agrees with labels of the authors, counted along the Cell Ontology."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .._errors import InputError
from .._record import check_column

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

# Labels of scanpy's pbmc68k_reduced. Its cytotoxic T cells are those most like everything that was sorted as CD8+.
BULK_LABELS = {
    "CD14+ Monocyte": "CL:0001054",
    "CD19+ B": "CL:0000236",
    "CD34+": "CL:0008001",
    "CD4+/CD25 T Reg": "CL:0000792",
    "CD4+/CD45RA+/CD25- Naive T": "CL:0000895",
    "CD4+/CD45RO+ Memory": "CL:0000897",
    "CD56+ NK": "CL:0000623",
    "CD8+ Cytotoxic T": "CL:0000625",
    "CD8+/CD45RA+ Naive Cytotoxic": "CL:0000900",
    "Dendritic": "CL:0000451",
}


def terms_of_labels(adata: AnnData, labels_key: str) -> dict[str, str]:
    """Find the Cell Ontology terms of the labels of a column; labels without one are left out."""
    from ..ontology.match import match_labels

    check_column(adata, "labels_key", labels_key)
    names = sorted(map(str, adata.obs[labels_key].dropna().unique()))
    found = {match.label: match.term for match in match_labels(names) if match.term}
    if not found:
        msg = (
            f"None of the {len(names)} labels in obs[{labels_key!r}], such as {', '.join(map(repr, names[:3]))}, "
            "is a name of a type in the Cell Ontology; expected names such as 'B cell'. "
            "Leave labels_key= out or rename them."
        )
        raise InputError(msg)
    return found


def agreement(adata: AnnData, key: str, labels_key: str, term_of_label: Mapping[str, str]) -> tuple[str, str]:
    """Three shares over all cells, and a table with a row for each label of the authors."""
    from ._table import table

    cells = _judged(adata, key, labels_key, term_of_label)
    rows = []
    for label, group in cells.groupby("label"):
        answer, n = next(iter(group["answer"].value_counts().items()))
        shares = [f"{group[column].mean():.0%}" for column in ("same", "broader")]
        rows.append([str(label), f"{len(group):,}", *shares, f"{answer} ({n:,})"])
    header = ["authors' label", "cells", "same", "broader", "most frequent answer"]
    summary = f"""\
Agreement with the authors' labels, obs[{labels_key!r}], over {len(cells):,} of {adata.n_obs:,} cells:
  {cells["same"].mean():6.1%}  the same type in the Cell Ontology, or a finer one
  {cells["broader"].mean():6.1%}  a broader one that holds it, such as 'T or NK cell'
  {(cells["answer"] == "unknown").mean():6.1%}  unknown"""
    return summary, table(header, rows, right=header[1:4])


def _judged(adata: AnnData, key: str, labels_key: str, term_of_label: Mapping[str, str]) -> pd.DataFrame:
    """One row for each cell whose label has a term: label, answer, and two verdicts."""
    from ..metrics.annotation import CANNOT_TELL, RIGHT, compatible

    names = {labels_key: "label", f"{key}_cell_type": "answer", f"{key}_cell_type_ontology": "term"}
    columns = adata.obs[list(names)].astype(str).set_axis(list(names.values()), axis=1)
    cells: pd.DataFrame = columns[columns["label"].isin(list(term_of_label))].copy()
    truth = cells["label"].map(term_of_label).to_numpy(str)
    told = cells.pop("term").to_numpy(str)
    verdict = compatible(truth, told)
    # An answer below the label cannot be told by it, and agrees with it.
    cells["same"] = (verdict == CANNOT_TELL) | np.equal(truth, told)
    cells["broader"] = (verdict == RIGHT) & ~cells["same"]
    return cells
