"""How much of a data set a model knows."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .._errors import GeneMatchError
from .match import GeneMatch

STOP_BELOW = 0.10
WARN_BELOW = 0.50


@dataclass(frozen=True)
class Coverage:
    """Shares of a data set's genes and counts that find a gene of a model.

    Attributes
    ----------
    n_genes, n_found, n_model
        Genes of the data, those of them that the model knows, genes of the model.
    genes, counts
        Share of the data's genes and of the data's counts that find a gene of the model.
    model
        Share of the model's genes that the data measured.
    """

    n_genes: int
    n_found: int
    n_model: int
    genes: float
    counts: float
    model: float


def coverage(
    match: GeneMatch, vocabulary_rows: NDArray[np.integer], gene_totals: NDArray[np.floating] | None = None
) -> Coverage:
    """Measure how much of a data set finds a gene of a model.

    Spike-ins and summary rows of read counters belong to no share.

    Parameters
    ----------
    match
        The genes of the data [g].
    vocabulary_rows
        Rows of the gene table that the model knows [v]; negative rows are left out.
    gene_totals
        Sum of each gene's values over cells [g], counts or not. Without it, or when nothing is positive (scaled
        values), the share of counts is the share of genes.
    """
    vocabulary = np.unique(vocabulary_rows[vocabulary_rows >= 0])
    return coverage_of(match, np.where(np.isin(match.rows, vocabulary), match.rows, -1), len(vocabulary), gene_totals)


def coverage_of(
    match: GeneMatch,
    position: NDArray[np.integer],
    n_model: int,
    gene_totals: NDArray[np.floating] | None = None,
) -> Coverage:
    """Measure the coverage where the position of each gene in the model [g] is known, -1 where it has none."""
    found = match.is_gene & (position >= 0)
    n_genes = int(match.is_gene.sum())
    genes = float(found.sum() / n_genes) if n_genes else 0.0
    counts = genes
    if gene_totals is not None:
        totals = np.where(match.is_gene, np.asarray(gene_totals, dtype=np.float64), 0.0)
        if (totals >= 0).all() and totals.sum() > 0:
            counts = float(totals[found].sum() / totals.sum())
    measured = len(np.unique(position[found]))
    return Coverage(
        n_genes=n_genes,
        n_found=int(found.sum()),
        n_model=n_model,
        genes=genes,
        counts=counts,
        model=measured / n_model if n_model else 0.0,
    )


def check_coverage(match: GeneMatch, share: Coverage, *, model: str = "the model", stacklevel: int = 2) -> None:
    """Stop below 10 % of the data's counts and warn below 50 %.

    Parameters
    ----------
    match
        The genes of the data.
    share
        How much of them is known.
    model
        How the messages call the model.
    stacklevel
        Whose line the warning names, as in :func:`warnings.warn`: 2 is the caller of this function.

    Raises
    ------
    GeneMatchError
        If less than 10 % of the data's counts lie on genes that the model knows.
    """
    if share.counts >= WARN_BELOW:
        return
    numbers = (
        f"{share.n_found:,} of {share.n_genes:,} genes of the data, with {share.counts:.1%} of its counts, "
        f"are known to {model}"
    )
    if share.counts >= STOP_BELOW:
        warnings.warn(f"Only {numbers}; results rest on those.", UserWarning, stacklevel=stacklevel)
        return
    msg = (
        f"Only {numbers}; at least {STOP_BELOW:.0%} of the counts are needed. Found {match.describe()}, "
        f"such as {', '.join(map(repr, match.names[:5]))}. "
        "If the organism is wrong, give organism='human' or organism='mouse'; "
        "if a column of adata.var holds the symbols, give gene_symbols='<column>'."
    )
    raise GeneMatchError(msg)
