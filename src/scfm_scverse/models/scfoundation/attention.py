"""Attention in the decoder, which computes it in a linear form that never holds the weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..._errors import InputError
from ...nn import Performer
from ..base import Attention, AttentionRows


def decoder_attention(
    performer: Performer, filled: Tensor, wanted: Attention, n_genes: int, *, original: bool
) -> AttentionRows:
    """Attention of the named genes in every cell to all genes, T and S: the weights that the linear form stands for.

    Parameters
    ----------
    performer
        The layers.
    filled
        What goes into the first of them, [b, n_positions, d].
    wanted
        Genes, layer of the decoder and heads.
    n_genes
        Genes of the list; positions behind them cannot be asked for.
    original
        Weights as the authors' program gives them: divided by the number of heads, and those of what stands behind
        the layer's attention, not before it.

    Raises
    ------
    InputError
        A layer or a head that the decoder does not have.
    """
    n_layers = len(performer.layers)
    layer: Any = performer.layers[max(wanted.layer, -n_layers)]
    n_heads = layer.attention.n_heads
    heads = range(n_heads) if wanted.heads is None else wanted.heads
    if not -n_layers <= wanted.layer <= -1 or not all(0 <= head < n_heads for head in heads):
        msg = (
            f"Found layer={wanted.layer} and heads={wanted.heads}; expected a layer from {-n_layers} to -1 and heads "
            f"from 0 to {n_heads - 1} of the decoder."
        )
        raise InputError(msg)
    genes = torch.tensor([gene for gene in wanted.genes if gene < n_genes], device=filled.device)
    positions = torch.arange(filled.shape[1], device=filled.device)
    weights = []
    for x in performer(filled, n_layers=n_layers + wanted.layer):
        found = layer.weights_of(layer.attend(x[None])[0] if original else x, genes)[..., list(heads)]
        weights.append(found.float() / n_heads if original else found.float())
    told = torch.stack(weights)  # [b, q, k, h]
    cells = torch.arange(len(told), device=filled.device)
    cell, query, key = torch.meshgrid(cells, genes, positions, indexing="ij")
    return AttentionRows(cell.flatten(), query.flatten(), key.flatten(), told.flatten(0, 2))
