"""Bytes that an optimizer will hold, from the shapes of its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .galore import GaLoreAdamW
from .live import bytes_of
from .moments import BLOCK, SMALLEST
from .projection import as_matrix, low_rank_shape, sides

_COUNT = 4  # a step is a float32 of its own


@dataclass(frozen=True)
class Sizes:
    """Bytes that an optimizer holds.

    Attributes
    ----------
    state
        Of its state, after the first step.
    kept
        Of what is kept of a gradient until the step, by the id of its parameter; the gradient itself if missing.
    step
        Most bytes that a step holds beside.
    """

    state: int
    kept: dict[int, int]
    step: int


def sizes_of(optimizer: torch.optim.Optimizer) -> Sizes:
    """Sizes of an optimizer of :func:`make_optimizer`, which need not have taken a step."""
    pairs = [(param, group) for group in optimizer.param_groups for param in group["params"] if param.requires_grad]
    if isinstance(optimizer, GaLoreAdamW):
        kept = {id(param): _kept(param, group, optimizer.in_backward) for param, group in pairs}
        state = sum(_galore_state(param, group) for param, group in pairs)
        return Sizes(state, {key: size for key, size in kept.items() if size is not None}, 0)
    if isinstance(optimizer, torch.optim.Adafactor):
        state = sum(_adafactor_state(param) for param, _ in pairs)
        return Sizes(state, {}, max(bytes_of(param) for param, _ in pairs))
    return Sizes(sum(2 * bytes_of(param) + _COUNT for param, _ in pairs), {}, 0)


def _is_low(param: Tensor, group: dict[str, Any]) -> bool:
    return "rank" in group and param.ndim > 1


def _kept(param: Tensor, group: dict[str, Any], in_backward: str | None) -> int | None:
    if in_backward == "update":
        return 0
    if in_backward != "project" or not _is_low(param, group):
        return None
    rows, columns = low_rank_shape(as_matrix(param).shape, group["rank"], group["proj_type"])
    return 4 * rows * columns


def _galore_state(param: Tensor, group: dict[str, Any]) -> int:
    if group.get("rowwise"):
        return 8 * len(param) + _COUNT
    if not _is_low(param, group):
        return _moments(param.numel(), group) + _COUNT
    shape = as_matrix(param).shape
    rows, columns = low_rank_shape(shape, group["rank"], group["proj_type"])
    rank: int = min(group["rank"], *shape)
    bases = sum(rank * shape[side == "right"] for side in sides(group["proj_type"], shape))
    return _moments(rows * columns, group) + bases * param.element_size() + _COUNT


def _moments(n: int, group: dict[str, Any]) -> int:
    """Both moments of ``n`` numbers."""
    if group["moments"] == "8bit" and n >= SMALLEST:
        return 2 * (n + 4 * -(-n // BLOCK))
    return 8 * n


def _adafactor_state(param: Tensor) -> int:
    shape, n = param.shape, param.numel()
    numbers = n // shape[-1] + n // shape[-2] if param.ndim > 1 else n
    return numbers * param.element_size() + _COUNT
