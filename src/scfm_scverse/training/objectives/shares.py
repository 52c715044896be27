"""Which tokens of each cell are chosen, where a share of them is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..batch import Batch
from ..draws import Purpose


def share_of_genes(batch: Batch, purpose: Purpose, share: float | NDArray[np.float64]) -> NDArray[np.bool_]:
    """Choose that share of each cell's genes by the draws of a purpose, rounded down, one at least, bool [t].

    The first token of a cell, <cls>, is no gene; a cell without a gene has nothing chosen. Shares may differ by cell,
    [b].
    """
    starts, lengths = batch.tokens.indptr[:-1], batch.tokens.lengths
    draws = batch.uniform(purpose)
    draws[starts] = 2  # behind all others
    n_genes = lengths - 1
    n_chosen = np.minimum(n_genes, np.maximum(1, (n_genes * share).astype(np.int64)))
    chosen: NDArray[np.bool_] = places(batch, draws) < np.repeat(n_chosen, lengths)
    return chosen


def places(batch: Batch, draws: NDArray[np.float64]) -> NDArray[np.int64]:
    """Place of each token among those of its cell, the smallest draw first, [t]."""
    order = np.lexsort((draws, batch.cell_of_token))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - batch.tokens.indptr[batch.cell_of_token]
    return place
