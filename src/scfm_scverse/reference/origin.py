"""Whether cells are among those that a reference was made from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .reference import Reference

SAME = 0.95  # cosine; a cell's nearest neighbour in another study reaches 0.88 at most (14,000 cells of 7 studies)
SAMPLE = 2000
MIN_CELLS = 3


def same_cells(reference: Reference, embedding: NDArray[np.floating]) -> tuple[int, list[str]]:
    """Find cells that the reference holds too, among 2,000 spread over the data.

    A cell is found again as long as most of its genes are there; not after a cut to variable genes.

    Returns
    -------
    Number of cells found again (0 where they are too few to tell), and the batches that hold them, most first.
    """
    present = np.flatnonzero(np.isfinite(embedding).all(axis=1))
    if reference.cells is None or not len(present):
        return 0, []
    spread = np.unique(np.linspace(0, len(present) - 1, SAMPLE).round().astype(int))
    cells = embedding[present[spread]]
    # The default reference holds some 10,000 cells; of a larger one some are enough.
    n_held = len(reference.cells.code)
    held_rows = np.arange(0, n_held, max(1, n_held // 20_000))
    cosine = cells @ reference.cells.embedding[held_rows].astype(np.float32).T
    again = cosine.max(axis=1) > SAME
    if again.sum() < MIN_CELLS:
        return 0, []
    names, count = np.unique(reference.cells.batch[held_rows][cosine[again].argmax(axis=1)], return_counts=True)
    return int(again.sum()), [str(name) for name in names[np.argsort(-count, kind="stable")] if name]
