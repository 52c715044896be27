"""AdamW with moments in float32 or 8 bits: of whole weights, and of what a basis keeps of their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

from .moments import SMALLEST, is_compact, read_moment, write_moment
from .projection import as_matrix, factors
from .residual import update_with_residual
from .rounding import add_product_, rounded

# Where torch has a kernel that reads and writes each number once, without temporaries.
_FUSED = {"cpu", "cuda", "mps", "xpu"}


def start_moments(state: dict[str, Any], like: Tensor, moments: str, step_device: torch.device) -> None:
    """Zero moments of the shape of a float32 or float64 tensor."""
    state["step"] = torch.zeros((), device=step_device)
    for name, signed in (("exp_avg", True), ("exp_avg_sq", False)):
        state[name] = torch.zeros_like(like)
        if moments == "8bit" and like.dtype == torch.float32 and like.numel() >= SMALLEST:
            write_moment(state, name, state[name], signed=signed, compact=True)


def fused_step(
    targets: Sequence[Tensor],
    grads: Sequence[Tensor],
    states: Sequence[dict[str, Any]],
    steps: Sequence[Tensor],
    **settings: Any,
) -> None:
    """Move targets in place as :class:`torch.optim.AdamW` does, and add one to the steps."""
    compact = [is_compact(state) for state in states]
    first, second = ([read_moment(state, name) for state in states] for name in ("exp_avg", "exp_avg_sq"))
    adamw(
        list(targets),
        list(grads),
        first,
        second,
        [],
        list(steps),
        fused=all(target.device.type in _FUSED for target in targets),
        amsgrad=False,
        maximize=False,
        **settings,
    )
    for state, one, two, small in zip(states, first, second, compact, strict=True):
        write_moment(state, "exp_avg", one, signed=True, compact=small)
        write_moment(state, "exp_avg_sq", two, signed=False, compact=small)


def whole_step(
    params: Sequence[Tensor],
    states: Sequence[dict[str, Any]],
    group: dict[str, Any],
    make_rng: Callable[[], torch.Generator],
) -> None:
    """Move weights that no basis stands for; those of fewer than 32 bits in float32 and then rounded."""
    targets = [param.to(torch.promote_types(param.dtype, torch.float32)) for param in params]
    grads = [
        (param.grad.to_dense() if param.grad.is_sparse else param.grad).to(target.dtype)
        for param, target in zip(params, targets, strict=True)
        if param.grad is not None
    ]
    for state, target in zip(states, targets, strict=True):
        if "step" not in state:
            start_moments(state, target, group["moments"], target.device)
    fused_step(
        targets,
        grads,
        states,
        [state["step"] for state in states],
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        eps=group["eps"],
        weight_decay=group["weight_decay"],
    )
    rng = None
    for param, target in zip(params, targets, strict=True):
        if target is not param:
            rng = rng or make_rng()
            param.copy_(rounded(target, param.dtype, rng))


def low_rank_direction(low: Tensor, state: dict[str, Any], group: dict[str, Any]) -> Tensor:
    """Take the step of AdamW on the coordinates of a gradient: where to go, for a learning rate of one."""
    if "exp_avg" not in state:
        # On the CPU, so that asking whether a refresh is due waits for no device.
        start_moments(state, low, group["moments"], torch.device("cpu"))
    direction = torch.zeros_like(low)
    step = torch.full((), float(state["step"]), device=low.device)
    first, second = group["betas"]
    fused_step([direction], [low], [state], [step], lr=1, beta1=first, beta2=second, eps=group["eps"], weight_decay=0)
    state["step"] += 1
    return direction


def low_rank_step(
    param: Tensor,
    low: Tensor,
    state: dict[str, Any],
    group: dict[str, Any],
    rng: torch.Generator,
    grad: Tensor | None = None,
) -> None:
    """Move a matrix by the coordinates of its gradient: decay as in :class:`torch.optim.AdamW`, then the update.

    With ``grad``, the whole gradient, what the bases do not hold is added.
    """
    direction, weight = low_rank_direction(low, state, group), as_matrix(param)
    lr, keep = group["lr"], 1 - group["lr"] * group["weight_decay"]
    if grad is None:
        a, b = factors(direction, state)
        add_product_(weight, a, b, keep=keep, add=lr * group["scale"], rng=rng)
    else:
        update = update_with_residual(grad, low, direction.neg_(), state, group["scale"])
        weight.copy_(rounded(update.mul_(-lr).add_(weight, alpha=keep), weight.dtype, rng))
