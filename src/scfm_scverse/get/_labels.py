"""Columns of the user: labels and groups as names, and the Cell Ontology terms that labels stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._record import check_column
from ..ontology.match import match_labels

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def names_of(adata: AnnData, argument: str, column: str) -> pd.CategoricalIndex[Any]:
    """Return a column of ``adata.obs`` as names, missing where the column is; ``argument`` is how the caller named it.

    Raises
    ------
    MissingKeyError
        There is no such column.
    InputError
        The column holds nothing.
    """
    import pandas as pd

    check_column(adata, argument, column)
    values = adata.obs[column]
    n_missing = int(values.isna().sum())
    if n_missing == len(values):
        msg = f"Found no value in adata.obs[{column!r}] for any of {len(values):,} cells; pass another {argument}=."
        raise InputError(msg)
    if n_missing:
        say(f"{n_missing:,} of {len(values):,} cells have no value in obs[{column!r}] and are left out")
    seen = values.astype("category").cat.remove_unused_categories().cat.categories
    names = values.astype(object).map(str, na_action="ignore")
    return pd.CategoricalIndex(names, categories=list(dict.fromkeys(map(str, seen))))


def terms_of(adata: AnnData, labels_key: str, ontology_key: str | None) -> NDArray[np.str_]:
    """Return the Cell Ontology id of each cell's own label, ``""`` where there is none: given, or found by name."""
    labels = names_of(adata, "labels_key", labels_key)
    if ontology_key is not None:
        given = np.array(names_of(adata, "ontology_key", ontology_key).astype(object), dtype=str)
        return np.where(np.char.startswith(given, "CL:") & (labels.codes >= 0), given, "")
    terms = np.array([*(found.term for found in match_labels(labels.categories)), ""])
    of_cell: NDArray[np.str_] = terms[labels.codes]
    return of_cell
