"""Embedding tables by a row-wise second moment: one number a row instead of two a weight."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .rounding import rounded


def row_step(param: Tensor, grad: Tensor, state: dict[str, Any], group: dict[str, Any], rng: torch.Generator) -> None:
    """Move the rows of a table that have a gradient, sparse or dense; the others stay as they are, without decay.

    A row goes by its gradient over the root of its mean square so far, without a first moment. Each row counts its own
    steps, so that a gene which is seen late does not take a step many times too large.
    """
    if "row_avg_sq" not in state:
        state["row_step"] = torch.zeros(len(param), dtype=torch.int32, device=param.device)
        state["row_avg_sq"] = torch.zeros(len(param), device=param.device)
        state["step"] = torch.zeros(())
    state["step"] += 1
    rows, values = touched_rows(grad)
    values, second = values.float(), group["betas"][1]
    state["row_step"][rows] += 1
    state["row_avg_sq"][rows] = torch.lerp(values.square().mean(1), state["row_avg_sq"][rows], second)
    mean_square = state["row_avg_sq"][rows] / (1 - second ** state["row_step"][rows])
    values /= (mean_square.sqrt_() + group["eps"])[:, None]
    kept = param[rows].float().mul_(1 - group["lr"] * group["weight_decay"])
    param[rows] = rounded(kept.sub_(values, alpha=group["lr"]), param.dtype, rng)


def touched_rows(grad: Tensor) -> tuple[Tensor, Tensor]:
    """Rows of a gradient that are not zero, and their values."""
    if grad.is_sparse:
        grad = grad.coalesce()
        rows, values = grad.indices()[0], grad.values()
    else:
        rows, values = torch.arange(len(grad), device=grad.device), grad
    there = torch.linalg.vector_norm(values, dim=1).nonzero()[:, 0]
    return rows[there], values[there]
