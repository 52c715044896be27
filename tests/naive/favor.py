"""Attention through random features with every weight written out."""

from __future__ import annotations

import torch

EPSILON = 1e-4


def naive_favor_weights(query: torch.Tensor, key: torch.Tensor, projection: torch.Tensor) -> torch.Tensor:
    """Weights of every query of one cell, twice [t, h, d], to every key, [query, key, h], in float64."""
    query, key, projection = query.double(), key.double(), projection.double()
    d = query.shape[2]
    z = {"query": query, "key": key}
    z = {name: torch.einsum("thd,md->thm", x, projection) / d**0.25 for name, x in z.items()}
    top = z["key"].max()
    weights = torch.zeros(len(query), len(key), query.shape[1], dtype=torch.float64)
    for head in range(query.shape[1]):
        for i in range(len(query)):
            s = query[i, head].square().sum() / (2 * d**0.5)
            of_query = torch.exp(z["query"][i, head] - s - z["query"][i, head].max()) + EPSILON
            s = key[:, head].square().sum(1, keepdim=True) / (2 * d**0.5)
            of_keys = torch.exp(z["key"][:, head] - s - top) + EPSILON
            weights[i, :, head] = of_keys @ of_query
    return weights / weights.sum(1, keepdim=True)
