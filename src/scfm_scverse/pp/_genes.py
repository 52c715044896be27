"""Write the approved symbol and the Ensembl id of every gene beside the names that the data came with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import InputError
from .._logging import say
from .._record import ROOT
from ..genes import GeneMatch, load_gene_table, names_and_hints, resolve_genes
from ..genes.detect import Organism

if TYPE_CHECKING:
    from anndata import AnnData


def harmonize_genes(
    adata: AnnData, *, organism: Organism | None = None, gene_symbols: str | None = None, copy: bool = False
) -> AnnData | None:
    """Find the human gene that every name stands for.

    Symbols and Ensembl ids, mixed or with versions, of human or mouse, old names, aliases, names in another letter
    case, and names that a spreadsheet turned into dates. Columns such as ``gene_ids`` (10x) and ``feature_name``
    (CELLxGENE) are used as hints. Nothing is renamed, and no gene is left out or summed: names that stand for one gene
    carry the same symbol. Embedding and annotation do this by themselves; call it to see what they will find.

    Parameters
    ----------
    adata
        Cells x genes, in memory or backed.
    organism
        Organism of the names; ``None`` detects it. Mouse genes stand for their human orthologs.
    gene_symbols
        Column of ``adata.var`` that holds symbols; ``None`` looks in the usual places.
    copy
        Return a changed copy instead of changing ``adata``.

    Returns
    -------
    ``None``, or the copy, with

    ``adata.var["scfm_gene"]``
        Approved symbol (the Ensembl id for a gene without one), "" where no gene was found.
    ``adata.var["scfm_gene_id"]``
        Ensembl id, "" where no gene was found.
    ``adata.uns["scfm"]["genes"]``
        Organism, kind of names, how many genes were found and by which way, and names that were chosen by rule
        (``ambiguous``), share their gene (``duplicated``) or stand for no gene (``not_found``), ten of each.

    Raises
    ------
    InputError
        If there is no such column or organism, or ``adata.uns["scfm"]`` holds something of somebody else.

    Examples
    --------
    >>> import anndata as ad, pandas as pd, scfm_scverse as scfm
    >>> adata = ad.AnnData(var=pd.DataFrame(index=["CD3D", "MARCH1", "1-Sep", "HLA.A"]))
    >>> scfm.pp.harmonize_genes(adata)
    >>> adata.var["scfm_gene"].tolist()
    ['CD3D', 'MARCHF1', 'SEPTIN1', 'HLA-A']
    """
    if copy:
        adata = adata.copy()
    elif adata.is_view:
        say("adata is a view: it becomes a copy of its own")
        adata._init_as_actual(adata.copy())
    names, ids = names_and_hints(adata.var, gene_symbols)
    match = resolve_genes(names, ids=ids, organism=organism)
    _write(adata, match)
    say(match.describe())
    return adata if copy else None


def _write(adata: AnnData, match: GeneMatch) -> None:
    table = load_gene_table()
    root = adata.uns.setdefault(ROOT, {})
    if not isinstance(root, dict):
        msg = f"Found {type(root).__name__} in adata.uns[{ROOT!r}]; expected a dict of ours. Rename that entry first."
        raise InputError(msg)
    adata.var["scfm_gene"] = np.where(match.rows >= 0, table.symbol[match.rows], "")
    adata.var["scfm_gene_id"] = np.where(match.rows >= 0, table.ensembl[match.rows], "")
    root["genes"] = _report(match)


def _report(match: GeneMatch) -> dict[str, Any]:
    """The summary without empty lists, which come back from a file as arrays of numbers."""
    return {key: value for key, value in match.summary().items() if value != []}
