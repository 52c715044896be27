"""Thin trainable matrices beside frozen linear layers."""

from __future__ import annotations

import re
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from .._errors import InputError


class AdaptedLinear(nn.Linear):
    """Linear layer whose weight is frozen; a product of two thin matrices, zero at first, is trained beside it."""

    def __init__(self, layer: nn.Linear, rank: int, scale: float, rng: torch.Generator) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias, self.scale = layer.weight, layer.bias, scale
        down = torch.empty(rank, layer.in_features).uniform_(-1, 1, generator=rng) / sqrt(layer.in_features)
        self.down = nn.Parameter(down.to(layer.weight))
        self.up = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        """[..., in_features] -> [..., out_features]."""
        return super().forward(x) + linear(linear(x, self.down), self.up) * self.scale

    def merged(self) -> nn.Linear:
        """Linear layer that gives the same, without the thin matrices."""
        layer = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        layer.weight, layer.bias = self.weight, self.bias
        with torch.no_grad():
            layer.weight.addmm_(self.up, self.down, alpha=self.scale)
        return layer


def add_lora(network: nn.Module, rank: int = 8, *, scale: float = 2.0, names: str = "", seed: int = 0) -> list[str]:
    """Freeze a network and train thin matrices beside its linear layers instead (Hu et al. 2021, LoRA), in place.

    Layers of the type :class:`torch.nn.Linear` itself are adapted where the network calls them; a weight that is used
    without calling its layer stays as it is. What else is to be trained, a new head say, is unfrozen afterwards.

    Parameters
    ----------
    network
        The network. It gives the same until it is trained.
    rank
        Width of the thin matrices.
    scale
        Factor of their product, "alpha / rank" in the paper.
    names
        Regular expression that is searched in the name of a layer; all are adapted if empty.
    seed
        Of the first values.

    Returns
    -------
    Names of the adapted layers.

    Raises
    ------
    InputError
        No linear layer has such a name.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    >>> add_lora(network, rank=4, names="^0$")
    ['0']
    >>> [name for name, param in network.named_parameters() if param.requires_grad]
    ['0.down', '0.up']
    """
    found = {name: layer for name, layer in network.named_modules() if type(layer) is nn.Linear and name}
    chosen = [name for name in found if re.search(names, name)]
    if not chosen:
        msg = f"none of the {len(found)} linear layers matches names={names!r}: {', '.join(list(found)[:5])}"
        raise InputError(msg)
    network.requires_grad_(requires_grad=False)
    rng = torch.Generator().manual_seed(seed)
    for name in chosen:
        network.set_submodule(name, AdaptedLinear(found[name], rank, scale, rng))
    return chosen


def merge_lora(network: nn.Module) -> None:
    """Put trained thin matrices into the weights, so that the network is of plain layers again, in place.

    Parameters
    ----------
    network
        What :func:`add_lora` changed. Its parameters stay frozen.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Linear(32, 2))
    >>> _ = add_lora(network)
    >>> merge_lora(network)
    >>> network
    Sequential(
      (0): Linear(in_features=32, out_features=2, bias=True)
    )
    """
    for name, layer in list(network.named_modules()):
        if isinstance(layer, AdaptedLinear):
            network.set_submodule(name, layer.merged())
