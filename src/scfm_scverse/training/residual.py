"""The part of a gradient that the bases do not hold, scaled like the rest and limited in how fast it grows."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .projection import factors

# The norm may grow by this factor from one step to the next.
_GROWTH = 1.01


def update_with_residual(grad: Tensor, low: Tensor, direction: Tensor, state: dict[str, Any], scale: float) -> Tensor:
    """What is taken off a weight [m, n] for a learning rate of one (Chen et al. 2024, Fira).

    Parameters
    ----------
    grad
        The gradient.
    low
        Its coordinates in the basis.
    direction
        Where Adam goes in these coordinates. Its norm over that of ``low`` says by how much each row or column of the
        residual is scaled.
    state
        Holds the basis, and keeps the norm of the residual as ``residual_norm``.
    scale
        Factor of the direction, and, as the authors do, of what is taken off the gradient to leave the residual.
    """
    axis = 0 if low.shape[0] < low.shape[1] else 1
    ratio = direction.norm(dim=axis, keepdim=True) / (low.norm(dim=axis, keepdim=True) + 1e-8)
    a, b = (one.to(low.dtype) for one in factors(low, state))
    residual = torch.addmm(grad.to(low.dtype), a, b, alpha=-scale).mul_(ratio)
    norm = residual.norm()
    if "residual_norm" in state:
        excess = (norm / (state["residual_norm"] + 1e-8)).clamp(min=_GROWTH) / _GROWTH
        residual /= excess
        norm = norm / excess
    state["residual_norm"] = norm
    a, b = (one.to(low.dtype) for one in factors(direction, state))
    return residual.addmm_(a, b, alpha=scale)
