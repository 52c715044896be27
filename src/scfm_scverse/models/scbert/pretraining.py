"""The task that scBERT was trained on: levels of some expressed genes are hidden and told from the rest."""

from __future__ import annotations

from math import ceil, cos, pi
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .network import MASK

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.15  # of the expressed genes that are chosen
HIDDEN = 0.9  # of the chosen that are hidden; the others stay and are told too


def masked_count(n_expressed: NDArray[np.integer], n_positions: int) -> NDArray[np.int64]:
    """Genes that are chosen in cells with so many tokens above 0, [n].

    The product is taken in float32, as the authors do: 15 % of 100 is a little above 15 there, and gives 16.
    """
    share: NDArray[np.int64] = np.ceil(n_expressed.astype(np.float32) * np.float32(SHARE)).astype(np.int64)
    return np.minimum(share, ceil(SHARE * n_positions), dtype=np.int64)


def masked_accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Share of each cell's chosen tokens that are told right, among the levels above 0, [b]."""
    told, chosen = logits[..., 1:MASK].argmax(-1) + 1, labels != MASK
    return ((told == labels) & chosen).sum(1) / chosen.sum(1)


def learning_rate(epoch: int, *, peak: float = 1e-4, least: float = 1e-6) -> float:
    """Learning rate of an epoch, from 1: cycles of a rise over five epochs and a fall along a cosine.

    The first cycle takes 15 epochs; the fall takes twice as long from cycle to cycle, and the peak shrinks by a tenth.
    """
    rise, length, at = 5, 15, epoch - 1
    while at >= length:
        at, length, peak = at - length, 2 * (length - rise) + rise, 0.9 * peak
    if at < rise:
        return least + (peak - least) * at / rise
    return least + (peak - least) * (1 + cos(pi * (at - rise) / (length - rise))) / 2
