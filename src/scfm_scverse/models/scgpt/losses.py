"""Training losses, as functions of tensors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy


def wide(x: Tensor) -> Tensor:
    """Return numbers of 16 bits in float32, and others as they are: losses add up many."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def squares(found: Tensor, target: Tensor) -> Tensor:
    """Squared error of every token."""
    return (wide(found) - target).square()


def surprise(nonzero: Tensor, target: Tensor) -> Tensor:
    """Negative log probability of what every target is: above zero or not."""
    likely = torch.where(target > 0, nonzero, 1 - nonzero)
    # A sure and wrong answer costs much, not infinitely much, as in the authors' program.
    return -likely.clamp(min=torch.finfo(likely.dtype).eps).log()


def masked_relative_error(found: Tensor, target: Tensor, masked: Tensor) -> Tensor:
    """Mean of the errors' sizes, each as a share of its target; a target of 0 makes it huge."""
    return ((found - target).abs() / (target + 1e-6))[masked].mean()


def elastic_similarity(cell: Tensor, threshold: float) -> Tensor:
    """Push pairs of cells away from a cosine of ``threshold``.

    Every pair counts ``1 - (cosine - threshold)^2``, negative cosines and a cell with itself as 0; the mean is over all
    pairs [b, b].
    """
    similar = _cosines(cell)
    similar = similar * ~torch.eye(len(cell), dtype=torch.bool, device=cell.device)
    return (1 - (similar.relu() - threshold).square()).mean()


def contrastive(cell: Tensor, again: Tensor, temperature: float = 0.5) -> Tensor:
    """Cross-entropy of finding each cell among all by the vector of a second pass, both [b, d]."""
    similar = cosine_similarity(cell[:, None], again[None], dim=-1) / temperature
    return cross_entropy(similar, torch.arange(len(cell), device=cell.device))


def _cosines(cell: Tensor) -> Tensor:
    unit = torch.nn.functional.normalize(cell, dim=1)
    return unit @ unit.T
