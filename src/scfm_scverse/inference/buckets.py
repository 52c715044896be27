"""Minibatches cut from length-sorted cells by a budget of tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

GPU_FACTOR = 32  # a GPU is busy only with many more tokens at once than a CPU's caches hold


def token_budget(on_cpu: int, device: torch.device) -> int:
    """Tokens of a minibatch on a device, for a model that takes ``on_cpu`` of them on a CPU."""
    return on_cpu if device.type == "cpu" else GPU_FACTOR * on_cpu


def minibatches(
    lengths: NDArray[np.integer], *, token_budget: int, batch_size: int | None = None
) -> list[NDArray[np.int64]]:
    """Group cells of similar length.

    Parameters
    ----------
    lengths
        Tokens of each cell, [n].
    token_budget
        Tokens that a minibatch may hold when every cell is as long as its longest; a single longer cell goes alone.
    batch_size
        Cells a minibatch may hold at most.

    Returns
    -------
    Positions of the cells of each minibatch; together every cell once.
    """
    order = np.argsort(lengths, kind="stable")[::-1].astype(np.int64)
    groups = []
    start = 0
    while start < len(order):
        # Sorted from long to short, the first cell is the longest of its minibatch.
        size = max(1, token_budget // max(1, int(lengths[order[start]])))
        size = size if batch_size is None else min(size, batch_size)
        groups.append(order[start : start + size])
        start += size
    return groups
