"""AnnData in, the cells that a network is trained on out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from .._query import read_query, read_totals
from .._record import check_column
from .._settings import settings
from ..genes import load_gene_table, names_and_hints, resolve_genes
from ..io.blocks import take_rows
from ..io.counts import find_values
from ..training.cells import Cells

if TYPE_CHECKING:
    from anndata import AnnData

    from ..models import CellModel

Organism = Literal["human", "mouse"]
OF_ENSEMBL = ("geneformer", "scfm-mini", "scfm-latent")  # architectures whose vocabulary is of Ensembl ids


def read_cells(
    adata: AnnData,
    model: CellModel,
    *,
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Organism | None = None,
    labels_key: str | None = None,
    labels: Sequence[Any] | None = None,
    batch_key: str | None = None,
    batches: Sequence[Any] | None = None,
    total_key: str | None = None,
) -> Cells:
    """Say how a model reads the cells of an AnnData; nothing but a sample of the matrix is read here.

    Genes meet the model by name, whatever their order and number. A backed AnnData stays on disk.

    Parameters
    ----------
    adata, layer, use_raw, normalized, gene_symbols, organism, total_key
        As in :func:`scfm_scverse.tl.embed`.
    model
        Whose vocabulary and tokeniser are used.
    labels_key, batch_key
        Columns of ``adata.obs`` with the class and the batch of each cell.
    labels, batches
        Names in the order of their numbers; ``None`` takes those of the column (:func:`names_in`).

    Raises
    ------
    CountsError, GeneMatchError
        The model cannot read the values, or knows too few of the genes.
    MissingKeyError
        A column is not there.
    InputError
        A cell has a label or a batch that is not among the names.
    """
    query = read_query(
        adata,
        model,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
    )
    return Cells(
        query.values.matrix,
        model.tokenizer(query.columns),
        labels=_numbers(adata, labels_key, labels, "labels_key"),
        batches=_numbers(adata, batch_key, batches, "batch_key"),
        totals=read_totals(adata, model, total_key),
    )


def _numbers(adata: AnnData, key: str | None, names: Sequence[Any] | None, argument: str) -> NDArray[np.int64] | None:
    check_column(adata, argument, key)
    if key is None:
        return None
    column = adata.obs[key]
    return numbers_of(column, names_in(column) if names is None else names, where=f"adata.obs[{key!r}]")


def names_in(column: pd.Series) -> list[Any]:
    """Names that occur in a column of ``obs``, sorted or in the order of its categories; missing ones are none."""
    found: list[Any] = column.astype("category").cat.remove_unused_categories().cat.categories.tolist()
    return found


def numbers_of(column: pd.Series, names: Sequence[Any], *, where: str) -> NDArray[np.int64]:
    """Place of each cell's name among ``names``, -1 where it has none, [n].

    Raises
    ------
    InputError
        A name is not among them; the message says which and in how many cells.
    """
    numbers: NDArray[np.int64] = pd.Index(names).get_indexer(column).astype(np.int64)
    strange = (numbers < 0) & column.notna().to_numpy()
    if strange.any():
        name = column[strange].iloc[0]
        n = int((column[strange] == name).sum())
        known = ", ".join(map(repr, list(names)[:8])) + (" ..." if len(names) > 8 else "")
        msg = (
            f"{where} holds {name!r} ({n:,} cells), which the model has not seen; expected {known or 'none'}. "
            "FoundationModel.load_query_data takes new names in, or leave such cells out."
        )
        raise InputError(msg)
    return numbers


def genes_to_model(
    adata: AnnData,
    *,
    ensembl: bool,
    layer: str | None = None,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    organism: Organism | None = None,
) -> list[str]:
    """Names of the genes of a data set for a new vocabulary: human symbols or Ensembl ids, each gene once."""
    names, ids = names_and_hints(find_values(adata, layer=layer, use_raw=use_raw).var, gene_symbols)
    rows = resolve_genes(names, ids=ids, organism=organism).rows
    known = np.unique(rows[rows >= 0])
    table = load_gene_table()
    found: list[str] = (table.ensembl if ensembl else table.symbol)[known].tolist()
    return found


def blocks_of(matrix: Any, rows: NDArray[np.int64]) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield chosen cells block by block: the position of the first among ``rows``, which ascend, and the block."""
    for start in range(0, len(rows), settings.block_size):
        yield start, take_rows(matrix, rows[start : start + settings.block_size])


def chosen_rows(n: int, indices: Any) -> NDArray[np.int64]:
    """Positions of the cells that positions, a slice or a mask choose of ``n``; ``None`` is all."""
    return np.arange(n) if indices is None else np.arange(n)[indices]
