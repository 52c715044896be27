"""Computing what is inside a layer a second time for the gradient, instead of keeping it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

T = TypeVar("T")


def run_layer(layer: Callable[..., T], *inputs: object, recompute: bool, **options: Any) -> T:
    """Call a layer; with ``recompute``, only what enters and leaves it is kept for the gradient."""
    if not recompute or not torch.is_grad_enabled():
        return layer(*inputs, **options)
    out: T = checkpoint(layer, *inputs, use_reentrant=False, **options)
    return out


def set_recompute(network: nn.Module, *, recompute: bool) -> None:
    """Tell every stack of layers of a network, whatever has the attribute ``recompute``."""
    for module in network.modules():
        if hasattr(module, "recompute"):
            cast(Any, module).recompute = recompute
