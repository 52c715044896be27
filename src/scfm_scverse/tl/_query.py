"""What every verb does first: find the values, name the genes, see whether they suffice for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import CountsError, GeneMatchError, InputError
from .._logging import say
from ..genes import Coverage, GeneMatch, check_coverage, coverage, load_gene_table, names_and_hints, resolve_genes
from ..inference import encode_cells
from ..io.blocks import iter_blocks, take_rows
from ..io.counts import Values, find_values
from ..models import Columns

if TYPE_CHECKING:
    from anndata import AnnData

    from ..inference.device import Dtype
    from ..models import CellModel

SAMPLE = 2000  # cells on which coverage is measured
MIN_GENES = 20  # genes of the model below which an embedding says nothing


@dataclass(frozen=True)
class Query:
    """A data set as a model sees it."""

    values: Values
    match: GeneMatch
    columns: Columns
    coverage: Coverage


def read_query(
    adata: AnnData,
    model: CellModel,
    *,
    layer: str | None,
    use_raw: bool,
    normalized: bool | None,
    gene_symbols: str | None,
    organism: Literal["human", "mouse"] | None,
) -> Query:
    """Find values and genes, or stop with the reason why the model cannot read them."""
    if adata.n_obs == 0 or adata.n_vars == 0:
        msg = f"The AnnData has {adata.n_obs} cells and {adata.n_vars} genes; expected at least one of each."
        raise InputError(msg)
    values = find_values(adata, layer=layer, use_raw=use_raw, normalized=normalized)
    if model.spec.needs_counts and values.kind == "log":
        msg = (
            f"{values.source} holds log-normalised values and {model.spec.name} needs counts; "
            "pass layer= to name the layer that holds them."
        )
        raise CountsError(msg)
    names, ids = names_and_hints(values.var, gene_symbols)
    match = resolve_genes(names, ids=ids, organism=organism)
    own = load_gene_table().rows_of_ensembl(model.spec.genes)
    return Query(values, match, _columns(match, own, values.base), _coverage(values, match, own, model))


def _columns(match: GeneMatch, own: NDArray[np.int32], base: float) -> Columns:
    position = np.full(len(load_gene_table()) + 1, -1, np.int32)
    position[own[own >= 0]] = np.flatnonzero(own >= 0)
    # A row of -1 (unknown name) reads the last entry, which no gene of the table has.
    return Columns(vocabulary=position[match.rows], gene=match.rows, counted=match.is_gene, base=base)


def _coverage(values: Values, match: GeneMatch, own: NDArray[np.int32], model: CellModel) -> Coverage:
    """Stop where names mean nothing to us, or too few of them are genes of the model."""
    n = values.matrix.shape[0]
    rows = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(int))
    totals = np.asarray(take_rows(values.matrix, rows).sum(axis=0)).ravel()
    # The model may have chosen few genes on purpose, so the warning is about names that the gene table knows.
    known = np.arange(len(load_gene_table()))
    check_coverage(match, known, totals, model="the gene table of scfm-scverse", stacklevel=5)
    share = coverage(match, own, totals)
    measured = len(np.unique(match.rows[np.isin(match.rows, own[own >= 0])]))
    if measured < MIN_GENES:
        msg = (
            f"Found {measured} of the {len(own):,} genes of {model.spec.name} among the {len(match.rows):,} of the data "
            f"({match.organism}, {match.kind} names); expected {MIN_GENES} at least. "
            "If the organism is wrong pass organism=, if the symbols are in a column of var pass gene_symbols=."
        )
        raise GeneMatchError(msg)
    say(
        f"{measured:,} of {len(own):,} genes of {model.spec.name} measured; {share.n_found:,} of {share.n_genes:,} genes "
        f"of the data known to it ({match.organism}, {match.kind} names)"
    )
    return share


def embed_query(
    adata: AnnData,
    query: Query,
    model: CellModel,
    *,
    batch_size: int | None,
    device: str,
    dtype: Dtype,
) -> NDArray[np.float32]:
    """Embed every cell of a query, [n, d]; cells without counts get a row of NaN and are counted."""
    blocks = iter_blocks(query.values.matrix, names=adata.obs_names, genes=query.values.var.index)
    embedding = encode_cells(
        blocks,
        adata.n_obs,
        model=model,
        tokenize=model.tokenizer(query.columns),
        batch_size=batch_size,
        device=device,
        dtype=dtype,
    )
    return embedding
