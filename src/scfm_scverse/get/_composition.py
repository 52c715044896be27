"""``get.composition``: which types each sample is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._labels import names_of
from ._tables import annotation, cell_types

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def composition(adata: AnnData, *, groupby: str, key: str = "scfm") -> pd.DataFrame:
    """Count the cells of every label in every sample, donor, condition or cluster.

    Parameters
    ----------
    adata
        Annotated cells.
    groupby
        Column of ``adata.obs`` that tells the groups apart.
    key
        The ``key_added`` of the annotation.

    Returns
    -------
    One row for each pair of a group and a label, absent pairs included: ``group``, ``cell_type``, ``n_cells``, and
    ``share`` of the group's cells. Groups stand in the order of their categories, labels as in
    :func:`scfm_scverse.get.cell_types`. Cells without a group are left out.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or ``groupby`` is not in ``adata.obs``.
    InputError
        No cell has a group.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> table = scfm.get.composition(adata, groupby="phase")
    >>> table.groupby("group")["share"].sum().round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    import pandas as pd

    labels = pd.Categorical(annotation(adata, key=key)["cell_type"].astype(str))
    groups = names_of(adata, "groupby", groupby)
    counts = pd.crosstab(groups, labels).reindex(index=groups.categories, columns=cell_types(adata, key=key).index)
    table = counts.fillna(0).astype(int).rename_axis(index="group").reset_index()
    out = table.melt("group", var_name="cell_type", value_name="n_cells")
    out["share"] = out["n_cells"] / out.groupby("group", observed=True)["n_cells"].transform("sum")
    return out
