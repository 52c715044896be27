"""Softmax attention with loops over cells, heads and queries."""

from __future__ import annotations

import torch


def naive_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, lengths: tuple[int, ...]
) -> torch.Tensor:
    """Attention of every token among those of its own cell, three times [t, h, d] -> [t, h * d]."""
    out = torch.zeros_like(query)
    row = 0
    for length in lengths:
        cell = range(row, row + length)
        for head in range(query.shape[1]):
            for i in cell:
                scores = torch.stack([query[i, head] @ key[j, head] for j in cell]) / query.shape[2] ** 0.5
                weights = scores.exp() / scores.exp().sum()
                out[i, head] = sum(weight * value[j, head] for weight, j in zip(weights, cell, strict=True))
        row += length
    return out.flatten(1)
