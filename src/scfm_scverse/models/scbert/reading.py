"""What is read of the layers' attention: rows of named genes, and the weight of every gene in a cell."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._errors import InputError
from ...nn import Performer
from ..base import Attention, AttentionRows


def attention_rows(performer: Performer, x: Tensor, asked: Attention, *, as_published: bool) -> AttentionRows:
    """Attention that named genes pay to all positions of their cell.

    Parameters
    ----------
    performer
        The layers.
    x
        [b, t, d]: what goes into the first of them.
    asked
        Which genes, which layer, which heads.
    as_published
        Compute the weights from what stands behind the layer's attention, as the authors' program does, not from what
        the layer reads.

    Raises
    ------
    InputError
        A layer or a head that the network does not have.
    """
    layers = performer.stack
    n_heads = layers[0].attention.n_heads
    heads = range(n_heads) if asked.heads is None else asked.heads
    if not -len(layers) <= asked.layer <= -1 or not all(0 <= head < n_heads for head in heads):
        msg = (
            f"Found layer={asked.layer} and heads={asked.heads}; expected a layer from {-len(layers)} to -1 and heads "
            f"from 0 to {n_heads - 1}."
        )
        raise InputError(msg)
    layer = layers[asked.layer]
    before = performer(x, n_layers=len(layers) + asked.layer)
    before = layer.attend(before) if as_published else before
    genes = torch.tensor(asked.genes, dtype=torch.int64, device=x.device)
    weights = torch.stack([layer.weights_of(cell, genes)[..., list(heads)].float() for cell in before])
    axes = torch.arange(len(x), device=x.device), genes, torch.arange(x.shape[1], device=x.device)
    cell, query, key = torch.meshgrid(*axes, indexing="ij")
    return AttentionRows(cell.flatten(), query.flatten(), key.flatten(), weights.flatten(0, 2))


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
