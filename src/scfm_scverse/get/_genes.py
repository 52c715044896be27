"""``get.gene_embedding`` and ``get.gene_attention``: what models say of genes, with names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._errors import InputError, MissingKeyError
from .._record import read_record

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


def gene_embedding(adata: AnnData, group: str | None = None, *, key: str = "X_scfm_genes") -> pd.DataFrame:
    """Pull out the vectors of genes that :func:`scfm_scverse.tl.embed_genes` wrote.

    Parameters
    ----------
    adata
        Cells x genes with embedded genes.
    group
        Group of cells over which the vectors were averaged; ``None`` takes those over all cells.
    key
        The ``key_added`` of the embedding.

    Returns
    -------
    One row a gene that has a vector, indexed by name, one column a dimension. A copy.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.
    InputError
        There is no such group.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.embed_genes(adata)
    >>> scfm.get.gene_embedding(adata).shape[1]
    256
    """
    written = _written(adata, "embed_genes", key)
    groups = list(written["groups"])
    if group is not None and group not in groups:
        named = ", ".join(map(repr, groups)) or "none: pass groupby= to tl.embed_genes"
        msg = f"Found group={group!r}; the groups of {key!r} are {named}."
        raise InputError(msg)
    slot = key if group is None else f"{key}_group{groups.index(group)}"
    return _frame(adata, slot).dropna()


def gene_attention(adata: AnnData, *, key: str) -> pd.DataFrame:
    """Pull out what :func:`scfm_scverse.tl.gene_attention` wrote.

    Parameters
    ----------
    adata
        Cells x genes with attention.
    key
        The ``key_added`` of the attention.

    Returns
    -------
    One row a gene that is looked at, one column a gene that looks: share of its attention, NaN where no cell holds
    both. A copy.

    Raises
    ------
    MissingKeyError
        Nothing was written under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.gene_attention(adata, ["CD3D"], model="scGPT_human")  # doctest: +SKIP
    >>> scfm.get.gene_attention(adata, key="X_scGPT_attention")["CD3D"].nlargest(5)  # doctest: +SKIP
    """
    written = _written(adata, "gene_attention", key)
    table = _frame(adata, key)
    table.columns = list(written["genes"])
    return table.dropna(how="all")


def _written(adata: AnnData, verb: str, key: str) -> dict[str, Any]:
    written = read_record(adata, verb, key)
    if written is None or key not in adata.varm:
        msg = f"adata.varm[{key!r}] was not written by tl.{verb}; run it first, or pass key=."
        raise MissingKeyError(msg)
    return written


def _frame(adata: AnnData, slot: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(adata.varm[slot], index=adata.var_names).copy()
