"""``get.confusion``: the user's own labels against ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from ..metrics import compatible
from ._labels import names_of, terms_of
from ._tables import UNKNOWN, annotation

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def confusion(adata: AnnData, *, labels_key: str, key: str = "scfm") -> pd.DataFrame:
    """Count cells by the labels that they had and by those that :func:`scfm_scverse.tl.annotate` gave.

    Parameters
    ----------
    adata
        Annotated cells.
    labels_key
        Column of ``adata.obs`` with labels of your own: names, or clusters.
    key
        The ``key_added`` of the annotation.

    Returns
    -------
    Numbers of cells. Rows are your labels, columns are ours, both in an order in which like stands beside like, so that
    cells gather along the diagonal; "unknown" is the last column. Cells without a label of yours are left out.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or ``labels_key`` is not in ``adata.obs``.
    InputError
        No cell has both labels.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> table = scfm.get.confusion(adata, labels_key="bulk_labels")
    >>> int(table.to_numpy().sum())
    700
    """
    import pandas as pd

    ours = annotation(adata, key=key)["cell_type"].astype(object).to_numpy()
    own = names_of(adata, "labels_key", labels_key)
    table = pd.crosstab(own, ours)
    if table.empty:
        msg = (
            f"Found no cell with both a label in adata.obs[{labels_key!r}] and one in adata.obs['{key}_cell_type']; "
            "expected some. Pass another labels_key= or key=."
        )
        raise InputError(msg)
    rows, columns = _along_the_diagonal(table.to_numpy())
    table = table.iloc[rows, columns].rename_axis(index=labels_key, columns="cell_type")
    last = [name for name in table if name != UNKNOWN] + [name for name in table if name == UNKNOWN]
    return table[last]


def agreeing(adata: AnnData, table: pd.DataFrame, *, key: str, ontology_key: str | None) -> pd.DataFrame:
    """Tell for each entry of a table of :func:`confusion` whether the two labels are one type, or one holds the other.

    All are false where none of the user's labels is a term of the Cell Ontology.
    """
    import pandas as pd

    labels_key = str(table.index.name)
    own = names_of(adata, "labels_key", labels_key)
    ours = annotation(adata, key=key)
    terms = pd.DataFrame({"label": own, "term": terms_of(adata, labels_key, ontology_key)})
    # A label may hold cells of several terms: the most frequent one stands for it.
    own_term = terms.groupby("label", observed=True)["term"].agg(lambda term: term.mode().iloc[0])
    first = ours.astype(str).drop_duplicates("cell_type").set_index("cell_type")["cell_type_ontology"]
    our_term = first.reindex(table.columns).to_numpy(str)
    one, other = (
        part.ravel() for part in np.meshgrid(own_term.loc[table.index].to_numpy(str), our_term, indexing="ij")
    )
    agree = (compatible(one, other) == 1) | (compatible(other, one) == 1)
    return pd.DataFrame(agree.reshape(table.shape), index=table.index, columns=table.columns)


def _along_the_diagonal(counts: NDArray[np.integer]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return an order of rows with like beside like, and the order of columns that follows them."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    share = counts / counts.sum(axis=1, keepdims=True)
    rows = np.arange(len(share))
    if len(share) > 2:
        rows = leaves_list(linkage(np.sqrt(share), "average", optimal_ordering=True)).astype(rows.dtype)
    place = np.empty(len(rows))
    place[rows] = np.arange(len(rows))
    # A label of ours stands where the cells of its rows are, each row weighing the same.
    middle = (share * place[:, None]).sum(axis=0) / share.sum(axis=0)
    return rows, np.argsort(middle, kind="stable")
