"""What settings ask for: the network as it is trained, the optimizer, the learning rates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from inspect import signature
from math import cos, pi
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .._errors import InputError
from ..nn import set_recompute
from .galore import GaLoreAdamW
from .groups import galore_param_groups
from .lora import add_lora, merge_lora
from .processes import place_of_process
from .settings import TrainSettings

if TYPE_CHECKING:
    from ..models.trainable import Trainable
    from .objectives import Objective

# For a network that has learned before. From new weights, GaLore learned fastest at 3e-3 and AdamW at 1e-3.
USUAL_LR = {"galore": 1e-3, "adamw": 1e-4, "adafactor": 1e-3}
LORA_LR = 1e-3


def prepare_training(model: Trainable, objective: Objective | None, settings: TrainSettings) -> None:
    """Make a model ready to be trained for an objective as settings say, in place."""
    before = {id(param) for param in model.network.parameters()}
    if objective is not None:
        objective.prepare(model)
    heads = [param for param in model.network.parameters() if id(param) not in before]
    prepare_network(model.network, settings, heads=heads)


def prepare_network(network: nn.Module, settings: TrainSettings, *, heads: Iterable[Tensor] = ()) -> None:
    """Make a network ready to be trained as settings say, in place, after the objective has prepared it.

    Parameters
    ----------
    network
        The network.
    settings
        How it is trained: ``lora_rank``, ``precision``, ``recompute`` and ``optimizer`` are read.
    heads
        Parameters that are trained whole beside thin matrices: those that the objective has added.
    """
    if settings.lora_rank is not None:
        _adapt(network, settings, {id(param) for param in heads})
    if settings.optimizer == "galore" and settings.optimizer_kwargs.get("embedding") != "adamw":
        _set_sparse(network)
    set_recompute(network, recompute=settings.recompute)
    network.to(torch.bfloat16 if settings.precision == "bfloat16" else torch.float32)


def release_network(network: nn.Module) -> None:
    """Give a trained network plain layers of float32 again, all of which can be trained, in place."""
    merge_lora(network.float())
    set_recompute(network, recompute=False)
    for layer in network.modules():
        if isinstance(layer, nn.Embedding):
            layer.sparse = False
    network.requires_grad_()


def _adapt(network: nn.Module, settings: TrainSettings, heads: set[int]) -> None:
    """Put thin matrices beside the linear layers, those of heads apart."""
    layers = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    inner = [name for name in layers if id(network.get_submodule(name).weight) not in heads]
    if not inner:
        msg = f"Found lora_rank={settings.lora_rank} for a network without linear layers; expected lora_rank=None."
        raise InputError(msg)
    add_lora(network, settings.lora_rank or 0, names=f"^({'|'.join(map(re.escape, inner))})$", seed=settings.seed)
    for param in network.parameters():
        if id(param) in heads:
            param.requires_grad_()


def _set_sparse(network: nn.Module) -> None:
    """Let large tables have gradients of the rows that were looked up only."""
    tables = {id(param) for group in galore_param_groups(network) if group.get("rowwise") for param in group["params"]}
    for layer in network.modules():
        if isinstance(layer, nn.Embedding) and id(layer.weight) in tables:
            layer.sparse = True


def make_optimizer(network: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return the optimizer of the parameters that need a gradient."""
    lr = settings.lr
    if lr is None:
        lr = USUAL_LR[settings.optimizer] if settings.lora_rank is None else LORA_LR
    options = dict(settings.optimizer_kwargs)
    if settings.optimizer == "galore":
        groups = galore_param_groups(network, **_of_groups(settings))
        groups = [group for one in groups for group in _by_decay(one, settings.weight_decay)]
        options = {name: value for name, value in options.items() if name not in _GROUP_OPTIONS}
        return GaLoreAdamW(groups, lr, seed=settings.seed, **{**_lean(options), **options})
    trained = {"params": [param for param in network.parameters() if param.requires_grad]}
    groups = _by_decay(trained, settings.weight_decay)
    if settings.optimizer == "adafactor":
        return torch.optim.Adafactor(groups, lr, **options)
    return torch.optim.AdamW(groups, lr, fused=True, **options)


_GROUP_OPTIONS = tuple(signature(galore_param_groups).parameters)[1:]


def _of_groups(settings: TrainSettings) -> dict[str, Any]:
    """What the groups of GaLore are told."""
    return {name: settings.optimizer_kwargs[name] for name in _GROUP_OPTIONS if name in settings.optimizer_kwargs}


def _lean(options: dict[str, Any]) -> dict[str, Any]:
    """Return what GaLore does unless told otherwise: whatever takes the least memory without learning worse."""
    if options.get("compat") is not None:
        return {}
    return {"moments": "8bit", "in_backward": "project" if place_of_process()[1] == 1 else None}


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
