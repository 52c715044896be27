"""Edits of ragged tokens: delete genes, move or put genes to the front, cut cells to the context.

Special tokens stand at both ends of a cell and stay there: ``special`` [v] says which entries of the vocabulary they
are. Genes are given for each cell, [n, k], or once for all cells, [k].
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..tokens import Tokens


def delete(tokens: Tokens, genes: NDArray[np.int32]) -> Tokens:
    """Take genes out of cells; a cell that lacks one only loses the others.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.perturbation import delete
    >>> from scfm_scverse.tokens import Tokens
    >>> tokens = Tokens(np.array([0, 3]), np.array([4, 2, 7]), np.ones(3, np.float32), np.ones(8, bool))
    >>> delete(tokens, np.array([2])).ids.tolist()
    [4, 7]
    """
    return _keep(tokens, ~_is_one_of(tokens, genes))


def overexpress(tokens: Tokens, genes: NDArray[np.int32], special: NDArray[np.bool_], context: int) -> Tokens:
    """Put genes in front of all others, in the order given, whether the cell holds them or not.

    They get the largest value of the cell. Cells that grow beyond the context lose their last genes.

    Parameters
    ----------
    tokens
        Tokens of cells [n].
    genes
        Positions in the vocabulary, [n, k] or [k], no gene twice in a cell.
    special
        Which entries of the vocabulary are special tokens [v].
    context
        Tokens of a cell at most, special ones included.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.perturbation import overexpress
    >>> from scfm_scverse.tokens import Tokens
    >>> tokens = Tokens(np.array([0, 3]), np.array([4, 2, 7]), np.ones(3, np.float32), np.ones(8, bool))
    >>> overexpress(tokens, np.array([7, 5]), np.zeros(8, bool), context=3).ids.tolist()
    [7, 5, 4]
    """
    genes = np.broadcast_to(genes, (len(tokens), np.shape(genes)[-1]))
    k = genes.shape[1]
    kept = ~_is_one_of(tokens, genes)
    rest, leading = _keep(tokens, kept), _leading(tokens, special)[kept]
    cell, _ = places(rest)
    indptr = rest.indptr + k * np.arange(len(rest) + 1)
    moved = np.arange(len(rest.ids)) + k * (cell + ~leading)
    put = indptr[:-1, None] + _per_cell(leading, rest.indptr)[:, None] + np.arange(k)
    ids, values = np.empty(indptr[-1], np.int32), np.empty(indptr[-1], np.float32)
    ids[moved], values[moved] = rest.ids, rest.values
    ids[put], values[put] = genes, _largest(tokens)[:, None]
    grown = replace(tokens, indptr=indptr, ids=ids, values=values)
    return shorten(grown, np.maximum(0, grown.lengths - context), special)


def shorten(tokens: Tokens, n_genes: NDArray[np.integer], special: NDArray[np.bool_]) -> Tokens:
    """Take the last ``n_genes`` [n] genes out of each cell; special tokens behind them stay."""
    cell, place = places(tokens)
    leading = _leading(tokens, special)
    trailing = special[tokens.ids] & ~leading
    last = (tokens.lengths - _per_cell(trailing, tokens.indptr))[cell]
    return _keep(tokens, leading | trailing | (place < last - n_genes[cell]))


def drop_bare(tokens: Tokens, special: NDArray[np.bool_]) -> Tokens:
    """Empty the cells in which only special tokens are left: a cell without counts has none either."""
    has_gene = _per_cell(~special[tokens.ids], tokens.indptr) > 0
    return _keep(tokens, np.repeat(has_gene, tokens.lengths))


def count_present(tokens: Tokens, genes: NDArray[np.int32]) -> NDArray[np.int64]:
    """How many of the genes, [n, k] or [k], each cell holds [n]."""
    return _per_cell(_is_one_of(tokens, genes), tokens.indptr)


def places(tokens: Tokens) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Cell of each token, and its place in the cell, both [t]."""
    cell = np.repeat(np.arange(len(tokens)), tokens.lengths)
    return cell, np.arange(len(tokens.ids)) - tokens.indptr[cell]


def _is_one_of(tokens: Tokens, genes: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether each token is one of its cell's genes [t]."""
    if np.ndim(genes) == 1:
        return np.isin(tokens.ids, genes)
    found = np.zeros(len(tokens.ids), bool)
    for column in genes.T:
        found |= tokens.ids == np.repeat(column, tokens.lengths)
    return found


def _leading(tokens: Tokens, special: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a token is special and no gene stands before it in its cell [t]."""
    genes_so_far = np.cumsum(~special[tokens.ids])
    before = np.concatenate([[0], genes_so_far])[tokens.indptr[:-1]]
    return np.asarray(genes_so_far == np.repeat(before, tokens.lengths))


def _largest(tokens: Tokens) -> NDArray[np.float32]:
    """Largest value of each cell, 0 where it has none [n]."""
    largest = np.zeros(len(tokens), np.float32)
    np.maximum.at(largest, places(tokens)[0], tokens.values)
    return largest


def _keep(tokens: Tokens, kept: NDArray[np.bool_]) -> Tokens:
    indptr = np.concatenate([[0], np.cumsum(kept)])[tokens.indptr]
    return replace(tokens, indptr=indptr, ids=tokens.ids[kept], values=tokens.values[kept])


def _per_cell(marked: NDArray[np.bool_], indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many tokens of each cell are marked [n]."""
    return np.diff(np.concatenate([[0], np.cumsum(marked)])[indptr])
