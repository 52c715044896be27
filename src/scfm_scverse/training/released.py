"""One step as the released GaLoreAdamW takes it, so that its runs can be repeated."""

from __future__ import annotations

from math import sqrt
from typing import Any

import torch
from torch import Tensor

from .projection import as_matrix, factors, has_bases
from .residual import update_with_residual


def released_step(
    param: Tensor, low: Tensor, state: dict[str, Any], group: dict[str, Any], grad: Tensor | None = None
) -> None:
    """Move a weight by its gradient, or by the coordinates of its gradient where the state has bases.

    Not the formula of :class:`torch.optim.AdamW`: ``eps`` joins the uncorrected root of the second moment, decay comes
    after the update, and moments are of the type of the gradient. With ``grad``, the whole gradient, what the bases do
    not hold is added.
    """
    if "exp_avg" not in state:
        state["step"] = torch.zeros(())
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(low), torch.zeros_like(low)
    state["step"] += 1
    first, second = group["betas"]
    state["exp_avg"].mul_(first).add_(low, alpha=1 - first)
    state["exp_avg_sq"].mul_(second).addcmul_(low, low, value=1 - second)
    size = group["lr"]
    if group["correct_bias"]:
        step = int(state["step"])
        size *= sqrt(1 - second**step) / (1 - first**step)
    direction = state["exp_avg"] / state["exp_avg_sq"].sqrt().add_(group["eps"])
    if grad is not None:
        update = update_with_residual(grad, low, direction, state, group["scale"])
        as_matrix(param).add_(update, alpha=-size)
    elif has_bases(state):
        a, b = factors(direction, state)
        as_matrix(param).addmm_(a, b, alpha=-size * group["scale"])
    else:
        param.add_(direction, alpha=-size)
    if group["weight_decay"] > 0:
        param.mul_(1 - group["lr"] * group["weight_decay"])
