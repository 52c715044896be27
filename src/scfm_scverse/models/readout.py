"""What several networks give of the rows of a minibatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from .._errors import InputError
from ..nn import Encoder, EncoderLayer, Performer, Spans, attention_weights
from .base import Attention, AttentionRows, GeneRows


def attention_rows(encoder: Encoder, x: Tensor, ids: Tensor, spans: Spans, asked: Attention) -> AttentionRows:
    """Attention that named genes pay to all tokens of their cell, special tokens included.

    Parameters
    ----------
    encoder
        The transformer; only the layers before the one that is asked for are run.
    x
        [t, d]: what goes into its first layer.
    ids
        int64 [t]: position of each token in the vocabulary.
    spans
        Where each cell's tokens stand.
    asked
        Which genes, which layer, which heads.

    Raises
    ------
    InputError
        A layer or a head that the network does not have.
    """
    layers = cast(Sequence[EncoderLayer], encoder.layers)
    n_layers = len(layers)
    _check(asked, n_layers, layers[0].n_heads, "the network")
    query, key, _ = layers[asked.layer].project(encoder(x, spans, n_layers=n_layers + asked.layer))
    chosen = torch.isin(ids, torch.tensor(asked.genes, device=ids.device))
    found, start = [], 0
    for cell, length in enumerate(spans.lengths):
        rows = slice(start, start + length)
        start += length
        weights = attention_weights(query[rows][chosen[rows]], key[rows], asked.heads)
        n = len(weights)
        which = torch.full((n * length,), cell, device=ids.device)
        pairs = ids[rows][chosen[rows]].repeat_interleave(length), ids[rows].repeat(n)
        found.append((which, *pairs, weights.flatten(0, 1)))
    cells, queries, keys, shares = (torch.cat(parts) for parts in zip(*found, strict=True))
    return AttentionRows(cells, queries, keys, shares)


def linear_attention_rows(
    performer: Performer, x: Tensor, asked: Attention, *, behind: bool, where: str = "the network"
) -> AttentionRows:
    """Attention that named genes pay to all positions of their cell: the weights that linear attention stands for.

    Parameters
    ----------
    performer
        The layers; only those before the one that is asked for are run.
    x
        [b, t, d]: what goes into the first of them.
    asked
        Which positions, which layer, which heads.
    behind
        Compute the weights from what stands behind the layer's attention, as the authors' programs do, not from what
        the layer reads.
    where
        What messages call the layers.

    Raises
    ------
    InputError
        A layer or a head that there is not.
    """
    layers = performer.stack
    n_heads = layers[0].attention.n_heads
    _check(asked, len(layers), n_heads, where)
    layer, heads = layers[asked.layer], list(range(n_heads) if asked.heads is None else asked.heads)
    read = performer(x, n_layers=len(layers) + asked.layer)
    read = layer.attend(read) if behind else read
    genes = torch.tensor(asked.genes, dtype=torch.int64, device=x.device)
    weights = torch.stack([layer.weights_of(cell, genes)[..., heads].float() for cell in read])
    axes = torch.arange(len(x), device=x.device), genes, torch.arange(x.shape[1], device=x.device)
    cell, query, key = torch.meshgrid(*axes, indexing="ij")
    return AttentionRows(cell.flatten(), query.flatten(), key.flatten(), weights.flatten(0, 2))


def panel_rows(told: Tensor) -> GeneRows:
    """Rows of what is told of every gene of a panel in every cell, [b, n_genes] or [b, n_genes, d]."""
    n_cells, n_genes = told.shape[:2]
    cell = torch.arange(n_cells, device=told.device).repeat_interleave(n_genes)
    gene = torch.arange(n_genes, device=told.device).repeat(n_cells)
    return GeneRows(cell, gene, told.flatten(0, 1))


def _check(asked: Attention, n_layers: int, n_heads: int, where: str) -> None:
    if not -n_layers <= asked.layer <= -1 or not all(0 <= head < n_heads for head in asked.heads or ()):
        msg = (
            f"Found layer={asked.layer} and heads={asked.heads}; expected a layer from {-n_layers} to -1 and heads "
            f"from 0 to {n_heads - 1} of {where}."
        )
        raise InputError(msg)
