"""The part of a gradient that the bases do not hold, scaled like the rest and limited in how fast it grows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .projection import factors

# The norm may grow by this factor from one step to the next.
_GROWTH = 1.01


def add_residual(update: Tensor, grad: Tensor, low: Tensor, direction: Tensor, state: dict[str, Any], scale: float) -> None:
    """Add what a gradient has outside the bases to an update [m, n], in place (Chen et al. 2024, Fira).

    Parameters
    ----------
    update
        What is taken off the weight, for a learning rate of one.
    grad
        The gradient.
    low
        Its coordinates in the bases.
    direction
        Where Adam goes in these coordinates, without correction of the bias: it says by how much each row or column
        is scaled.
    state
        Keeps the norm of the last residual as ``residual_norm``.
    scale
        Share of the projected gradient that is taken off, as the authors do.
    """
    axis = 0 if low.shape[0] < low.shape[1] else 1
    ratio = direction.norm(dim=axis, keepdim=True) / (low.norm(dim=axis, keepdim=True) + 1e-8)
    a, b = factors(low, state)
    residual = torch.addmm(grad, a, b, alpha=-scale).mul_(ratio)
    norm = residual.norm()
    if "residual_norm" in state:
        excess = (norm / (state["residual_norm"] + 1e-8)).clamp(min=_GROWTH) / _GROWTH
        residual /= excess
        norm = norm / excess
    state["residual_norm"] = norm
    update += residual
