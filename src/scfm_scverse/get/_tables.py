"""``get.annotation`` and ``get.cell_types``: what ``tl.annotate`` wrote, by cell and by label."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import MissingKeyError
from .._record import ROOT, keys_written, read_record

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

UNKNOWN, MALIGNANT = "unknown", "malignant"  # labels that are no types
COLUMNS = ("cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score")
ON_REQUEST = ("prediction_set", "group_cell_type", "group_share", "malignant_score")


def annotation(adata: AnnData, *, key: str = "scfm") -> pd.DataFrame:
    """Pull out what :func:`scfm_scverse.tl.annotate` wrote about every cell.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        The ``key_added`` of the annotation.

    Returns
    -------
    One row a cell, in the order of ``adata.obs_names``: ``cell_type``, ``cell_type_fine``, ``cell_type_ontology``
    (categories), ``confidence`` and ``unknown_score`` (numbers between 0 and 1, NaN for cells without counts); where
    they were written, ``prediction_set``, ``group_cell_type``, ``group_share`` and ``malignant_score`` too. A copy.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> len(scfm.get.annotation(adata))
    700
    """
    written = {f"{key}_{name}": name for name in COLUMNS}
    missing = [column for column in written if column not in adata.obs]
    if missing:
        keys = keys_written(adata, "annotate")
        msg = (
            f"adata.obs[{missing[0]!r}] is missing; expected what tl.annotate writes (annotations found: {keys}). "
            f"Run scfm.tl.annotate(adata, key_added={key!r}) first, or pass key=."
        )
        raise MissingKeyError(msg)
    written |= {f"{key}_{name}": name for name in ON_REQUEST if f"{key}_{name}" in adata.obs}
    table: pd.DataFrame = adata.obs[list(written)].rename(columns=written)
    return table


def embedding_of(adata: AnnData, key: str) -> tuple[str, dict[str, Any]]:
    """Return where the embedding lies that an annotation was made from, and its record (empty where it was lost)."""
    model_id = (read_record(adata, "annotate", key) or {}).get("model_id")
    for slot in adata.uns.get(ROOT, {}).get("embed", {}):
        written = read_record(adata, "embed", slot) or {}
        if written.get("model_id") == model_id:
            return slot, written
    return "X_scfm", {}


def cell_types(adata: AnnData, *, key: str = "scfm") -> pd.DataFrame:
    """Count the cells of every label that :func:`scfm_scverse.tl.annotate` gave.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        The ``key_added`` of the annotation.

    Returns
    -------
    One row a label, indexed by ``cell_type``, the most numerous first and "unknown" last:

    ``n_cells``, ``share``
        Cells with this label, and their share of all cells.
    ``mean_confidence``, ``median_confidence``
        Over the cells with this label; NaN where none has a confidence.
    ``ontology``
        Cell Ontology id, or "unknown".
    ``from_profiles``
        Whether the reference knows this class from averaged profiles only. Missing for labels that are no single
        class (branches, "unknown"), and where the record of the annotation was lost.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> int(scfm.get.cell_types(adata)["n_cells"].sum())
    700
    """
    cells = annotation(adata, key=key).astype({"cell_type": str, "cell_type_ontology": str})
    table = cells.groupby("cell_type").agg(
        n_cells=("cell_type", "size"),
        mean_confidence=("confidence", "mean"),
        median_confidence=("confidence", "median"),
        ontology=("cell_type_ontology", "first"),
    )
    table.insert(1, "share", table["n_cells"] / len(cells))
    written = read_record(adata, "annotate", key) or {"labels": [], "labels_from_profiles": []}
    from_profiles = dict(zip(written["labels"], written["labels_from_profiles"], strict=True))
    table["from_profiles"] = table.index.map(from_profiles.get).astype("boolean")
    # The name decides between equal numbers, so that the order never depends on the order of the cells.
    n_cells = table["n_cells"].to_dict()
    return table.loc[sorted(n_cells, key=lambda label: (label == UNKNOWN, -n_cells[label], label))]
