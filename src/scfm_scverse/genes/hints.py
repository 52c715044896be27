"""Where a table of genes keeps its names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._errors import InputError
from .table import ensembl_numbers

if TYPE_CHECKING:
    import pandas as pd

_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl", "ensembl_id", "ensembl_gene_id", "feature_id")
_SYMBOL_COLUMNS = ("feature_name", "gene_symbols", "gene_symbol", "gene_name", "symbol")


def names_and_hints(var: pd.DataFrame, gene_symbols: str | None = None) -> tuple[list[str], list[str] | None]:
    """Names of the genes and, where the table has them, their Ensembl ids.

    Antibodies and peaks (``feature_types`` other than "Gene Expression") get the name "", which is no gene.

    Parameters
    ----------
    var
        ``adata.var``: the index holds symbols or Ensembl ids.
    gene_symbols
        Column that holds symbols. ``None`` looks for ``feature_name`` and the like when the index holds Ensembl ids.

    Returns
    -------
    names, ids
        Two lists as long as ``var``, for :func:`resolve_genes`; ``ids`` is ``None`` where no column has Ensembl ids.

    Raises
    ------
    InputError
        If ``var`` has no column ``gene_symbols``.

    Examples
    --------
    >>> import pandas as pd
    >>> names_and_hints(pd.DataFrame({"gene_ids": ["ENSG00000167286"]}, index=["CD3D"]))
    (['CD3D'], ['ENSG00000167286'])
    """
    if gene_symbols is not None and gene_symbols not in var.columns:
        columns = ", ".join(repr(str(column)) for column in var.columns) or "none"
        msg = f"adata.var has no column {gene_symbols!r} (argument gene_symbols); its columns are: {columns}."
        raise InputError(msg)
    index = _texts(var.index)
    ids_in_index = _mostly_ids(index)
    column = gene_symbols or next((name for name in _SYMBOL_COLUMNS if ids_in_index and name in var.columns), None)
    names = index if column is None else _texts(var[column])
    ids = index if ids_in_index and column is not None else _id_column(var)
    return _only_genes(var, names), None if ids is None else _only_genes(var, ids)


def _only_genes(var: pd.DataFrame, values: list[str]) -> list[str]:
    if "feature_types" not in var.columns:
        return values
    kinds = _texts(var["feature_types"])
    return [value if kind in {"Gene Expression", ""} else "" for value, kind in zip(values, kinds, strict=True)]


def _id_column(var: pd.DataFrame) -> list[str] | None:
    for column in _ID_COLUMNS:
        if column in var.columns:
            values = _texts(var[column])
            if (ensembl_numbers(values)[0] >= 0).any():
                return values
    return None


def _texts(values: pd.Index | pd.Series) -> list[str]:
    return ["" if gone else str(value) for value, gone in zip(values, values.isna(), strict=True)]


def _mostly_ids(names: list[str]) -> bool:
    return len(names) > 0 and bool((ensembl_numbers(names)[0] >= 0).mean() > 0.5)
