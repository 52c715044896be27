"""Which cells hold which genes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..tokens import Tokens


def holders(indptr: NDArray[np.integer], genes: NDArray[np.integer], n_genes: int) -> sp.csc_matrix:
    """Lay out which cells hold which genes.

    Parameters
    ----------
    indptr
        [n + 1]: the genes of cell ``i`` are ``genes[indptr[i]:indptr[i + 1]]``.
    genes
        Positions in the vocabulary; -1 is none.
    n_genes
        Entries of the vocabulary.

    Returns
    -------
    [n, v]: not zero where a cell holds a gene; the cells of a gene stand together, ascending.
    """
    cell = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    kept = genes >= 0
    shape = (len(indptr) - 1, n_genes)
    return sp.coo_matrix((np.ones(int(kept.sum()), np.int32), (cell[kept], genes[kept])), shape=shape).tocsc()


def holders_of_tokens(tokens: Tokens) -> sp.csc_matrix:
    """Which cells hold which genes as tokens [n, v]."""
    return holders(tokens.indptr, tokens.ids, len(tokens.measured))
