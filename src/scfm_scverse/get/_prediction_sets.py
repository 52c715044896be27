"""``get.prediction_sets``: how large the sets are and which labels stay together in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from .._errors import InputError, MissingKeyError
from .._record import read_record
from ..reference.sets import SEPARATOR
from ._tables import annotation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

BY = ("size", "label", "pair")


def prediction_sets(
    adata: AnnData, *, key: str = "scfm", by: Literal["size", "label", "pair"] = "size"
) -> pd.DataFrame:
    """Count the prediction sets of :func:`scfm_scverse.tl.annotate`.

    A set holds every class that the cell may well be, at the error rate ``alpha`` of the annotation: one class where
    the answer is clear, several where it is not. Cells without counts have no set and are left out.

    Parameters
    ----------
    adata
        Annotated cells.
    key
        The ``key_added`` of the annotation.
    by
        What to count by, see below.

    Returns
    -------
    With ``by="size"``, indexed by ``size``: ``n_cells`` and their ``share``. With ``by="label"``, indexed by ``label``:
    ``n_cells`` whose set holds it, ``n_alone`` whose set holds nothing else, ``mean_size`` of the sets that hold it.
    With ``by="pair"``: ``label``, ``other`` and ``n_cells`` whose set holds both, and ``share`` of all sets. The most
    numerous come first, but sizes rise. In ``attrs``: ``alpha`` and ``share_forced``, the share of cells whose top
    label was put into an empty set.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or no sets.
    InputError
        ``by`` is not known, or no cell has a set.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> int(scfm.get.prediction_sets(adata)["n_cells"].sum())
    700
    """
    if by not in BY:
        msg = f"by={by!r} is not known; expected one of {', '.join(map(repr, BY))}."
        raise InputError(msg)
    sets = _sets(adata, key)
    table = {"size": _by_size, "label": _by_label, "pair": _by_pair}[by](sets)
    written = read_record(adata, "annotate", key) or {}
    table.attrs = {name: written.get(name) for name in ("alpha", "share_forced")}
    return table


def _sets(adata: AnnData, key: str) -> pd.DataFrame:
    """Every different set once: ``labels`` (tuple), ``n_cells``, ``size``."""
    cells = annotation(adata, key=key)
    if "prediction_set" not in cells:
        msg = (
            f"adata.obs['{key}_prediction_set'] is missing; expected what tl.annotate writes. "
            f"Run scfm.tl.annotate(adata, key_added={key!r}) again."
        )
        raise MissingKeyError(msg)
    counts = cells["prediction_set"].astype(str).value_counts()
    counts = counts[counts.index != ""]
    if counts.empty:
        msg = f"Found no prediction set in adata.obs['{key}_prediction_set']; expected cells with counts."
        raise InputError(msg)
    sets = counts.rename("n_cells").rename_axis("set").reset_index()
    sets["labels"] = sets["set"].str.split(SEPARATOR, regex=False)
    sets["size"] = sets["labels"].str.len()
    return sets


def _by_size(sets: pd.DataFrame) -> pd.DataFrame:
    table = sets.groupby("size")[["n_cells"]].sum()
    table["share"] = table["n_cells"] / table["n_cells"].sum()
    return table


def _by_label(sets: pd.DataFrame) -> pd.DataFrame:
    each = sets.explode("labels").rename(columns={"labels": "label"})
    each["n_alone"] = each["n_cells"].where(each["size"] == 1, 0)
    each["places"] = each["n_cells"] * each["size"]
    table = each.groupby("label")[["n_cells", "n_alone", "places"]].sum()
    table["mean_size"] = table.pop("places") / table["n_cells"]
    return _most_first(table.reset_index(), ["label"]).set_index("label")


def _by_pair(sets: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    holds = sets["set"].str.get_dummies(SEPARATOR)
    together = holds.to_numpy().T @ (holds.to_numpy() * sets["n_cells"].to_numpy()[:, None])
    one, other = np.nonzero(np.triu(together, k=1))
    table = pd.DataFrame({"label": holds.columns[one], "other": holds.columns[other], "n_cells": together[one, other]})
    table["share"] = table["n_cells"] / sets["n_cells"].sum()
    return _most_first(table, ["label", "other"])


def _most_first(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The names decide between equal numbers."""
    return table.sort_values(["n_cells", *names], ascending=[False, *[True] * len(names)], ignore_index=True)
