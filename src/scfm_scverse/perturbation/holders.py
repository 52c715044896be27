"""Which cells hold which genes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..tokens import Tokens
from .copies import Copies, Kind


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


def copies_of(
    held: sp.csc_matrix,
    genes: NDArray[np.int32],
    kind: Kind,
    *,
    dose: float = 1.0,
    any_of: bool = False,
    cells: NDArray[np.int64] | None = None,
) -> Copies:
    """Perturb genes together in the cells that hold them all; overexpress them in every cell.

    Parameters
    ----------
    held
        Which cells hold which genes [n, v].
    genes
        Positions in the vocabulary [k].
    kind, dose
        What happens to them.
    any_of
        Whether a cell that holds one of the genes is enough.
    cells
        Cells to choose among; all if ``None``.
    """
    among = np.arange(held.shape[0]) if cells is None else cells
    if kind != "overexpress":
        found = [held.indices[held.indptr[gene] : held.indptr[gene + 1]] for gene in genes.tolist()]
        times = np.bincount(np.concatenate(found), minlength=held.shape[0])
        among = among[times[among] >= (1 if any_of else len(genes))]
    return Copies(kind, among, np.tile(genes, (len(among), 1)).astype(np.int32), each=False, dose=dose)


def holders_of_tokens(tokens: Tokens) -> sp.csc_matrix:
    """Which cells hold which genes as tokens [n, v]."""
    return holders(tokens.indptr, tokens.ids, len(tokens.measured))
