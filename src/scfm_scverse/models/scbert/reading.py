"""The weight of every gene in a cell, as all layers' attention tells it."""

from __future__ import annotations

import torch
from torch import Tensor

from ...nn import Performer


def gene_weights(performer: Performer, x: Tensor, *, as_published: bool) -> Tensor:
    """Attention that each position gets in its cell, mean over queries, heads and layers, [b, t, d] -> [b, t].

    The weights of a cell sum to one. Linear in time and memory: no table of queries and keys is made.
    """
    total = torch.zeros(x.shape[:2], device=x.device)
    for layer in performer.stack:
        behind = layer.attend(x)
        read = behind if as_published else x
        total += torch.stack([layer.mean_weights(cell).float().mean(-1) for cell in read])
        x = layer.feed(behind)
    return total / total.sum(-1, keepdim=True)
