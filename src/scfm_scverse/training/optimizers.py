"""The optimizer and the learning rates that settings ask for."""

from __future__ import annotations

from inspect import signature
from math import cos, pi
from typing import Any

import torch
from torch import Tensor, nn

from .galore import GaLoreAdamW
from .groups import galore_param_groups
from .settings import TrainSettings

USUAL_LR = {"galore": 1e-3, "adamw": 1e-4, "adafactor": 1e-3}
LORA_LR = 1e-3


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that need a gradient."""
    lr = settings.lr
    if lr is None:
        lr = USUAL_LR[settings.optimizer] if settings.lora_rank is None else LORA_LR
    options = dict(settings.optimizer_kwargs)
    if settings.optimizer == "galore":
        of_groups = [name for name in signature(galore_param_groups).parameters if name in options]
        groups = galore_param_groups(network, **{name: options.pop(name) for name in of_groups})
        groups = [group for one in groups for group in _by_decay(one, settings.weight_decay)]
        return GaLoreAdamW(groups, lr, seed=settings.seed, **options)
    trained = {"params": [param for param in network.parameters() if param.requires_grad]}
    groups = _by_decay(trained, settings.weight_decay)
    if settings.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr, **options)
    return torch.optim.AdamW(groups, lr, fused=True, **options)


def _by_decay(group: dict[str, Any], weight_decay: float) -> list[dict[str, Any]]:
    """Split a group: matrices decay, biases, norms and what is moved row by row do not."""
    params: list[Tensor] = group["params"]
    decays = [param for param in params if param.ndim > 1 and not group.get("rowwise")]
    held = {id(param) for param in decays}
    others = [param for param in params if id(param) not in held]
    parts = ((decays, weight_decay), (others, 0.0))
    return [group | {"params": found, "weight_decay": decay} for found, decay in parts if found]


def rate(step: int, *, warmup: int, total: int, least: float = 0.01) -> float:
    """Share of the peak learning rate at a step, from 0: a straight rise, then a cosine down to ``least``."""
    if step < warmup:
        return (step + 1) / warmup
    at = min(1.0, (step - warmup) / max(1, total - warmup))
    return least + (1 - least) * (1 + cos(pi * at)) / 2
