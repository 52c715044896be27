"""What several networks give of the rows of a minibatch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from .._errors import InputError
from ..nn import Encoder, EncoderLayer, Spans, attention_weights
from .base import Attention, AttentionRows


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
    n_layers, n_heads = len(layers), layers[0].n_heads
    if not -n_layers <= asked.layer <= -1 or not all(0 <= head < n_heads for head in asked.heads or ()):
        msg = (
            f"Found layer={asked.layer} and heads={asked.heads}; expected a layer from {-n_layers} to -1 and heads "
            f"from 0 to {n_heads - 1}."
        )
        raise InputError(msg)
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
