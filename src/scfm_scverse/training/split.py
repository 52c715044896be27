"""Cells to learn from and cells to measure the loss on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError


def split_cells(
    n: int, *, share: float, groups: NDArray[np.integer] | None = None, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split cells into those to train on and those to validate on, the same for the same seed.

    Parameters
    ----------
    n
        Number of cells.
    share
        Share of the cells to validate on, from 0 (none) to below 1.
    groups
        Group of each cell [n], its donor or study say: whole groups are held out, as many as come nearest to the
        share, one at least, and one at least is left.
    seed
        Of the choice.

    Returns
    -------
    Both sets of rows, ascending.

    Raises
    ------
    InputError
        A share that leaves no cell for one of the two, or a single group.

    Examples
    --------
    >>> from scfm_scverse.training.split import split_cells
    >>> train, validation = split_cells(6, share=0.3, groups=np.array([0, 0, 1, 1, 2, 2]))
    >>> len(train), len(validation)
    (4, 2)
    """
    if not 0 <= share < 1:
        msg = f"Found a share of {share} of the cells to validate on; expected 0 or more, and below 1."
        raise InputError(msg)
    if share == 0:
        return np.arange(n), np.arange(0)
    unit = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1]
    sizes = np.bincount(unit)
    if len(sizes) < 2:
        msg = (
            f"Found {len(sizes)} {'cells' if groups is None else 'groups of cells'}; expected 2 at least to split them."
        )
        raise InputError(msg)
    order = np.random.default_rng(seed).permutation(len(sizes))
    held = np.cumsum(sizes[order])[:-1]
    out = order[: 1 + int(np.argmin(np.abs(held - share * n)))]
    validation = np.isin(unit, out)
    return np.flatnonzero(~validation), np.flatnonzero(validation)
