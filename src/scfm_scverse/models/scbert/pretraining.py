"""The task that scBERT was trained on: levels of some expressed genes are hidden and told from the rest."""

from __future__ import annotations

from math import ceil, cos, pi

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from .network import MASK

SHARE = 0.15  # of the expressed genes that are chosen
HIDDEN = 0.9  # of the chosen that are hidden; the others stay and are told too


def masked_count(n_expressed: NDArray[np.integer], n_positions: int) -> NDArray[np.int64]:
    """Genes that are chosen in cells with so many tokens above 0, [n].

    The product is taken in float32, as the authors do: 15 % of 100 is a little above 15 there, and gives 16.
    """
    share: NDArray[np.int64] = np.ceil(n_expressed.astype(np.float32) * np.float32(SHARE)).astype(np.int64)
    return np.minimum(share, ceil(SHARE * n_positions), dtype=np.int64)


def hide(tokens: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
    """Hide tokens of each cell at random, [b, t] -> what the network reads and what it is to tell, twice [b, t].

    Only tokens above 0 are chosen. Labels are ``MASK`` wherever there is nothing to tell.
    """
    expressed = (tokens > 0) & (tokens != MASK)
    n_chosen = torch.from_numpy(masked_count(expressed.sum(1).cpu().numpy(), tokens.shape[1])).to(tokens.device)
    order = torch.rand(tokens.shape, generator=generator, device=tokens.device).masked_fill(~expressed, 2.0)
    chosen = order.argsort(1).argsort(1) < n_chosen[:, None]
    hidden = chosen & (torch.rand(tokens.shape, generator=generator, device=tokens.device) < HIDDEN)
    return tokens.masked_fill(hidden, MASK), tokens.masked_fill(~chosen, MASK)


def masked_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy over all chosen tokens of a minibatch, [b, t, 7] and [b, t] -> []."""
    return cross_entropy(logits.flatten(0, 1), labels.flatten().long(), ignore_index=MASK)


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
