"""Tokens that can be absent by degrees: what autograd needs to tell what taking a token out of its cell does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import pad

from .attention import Spans, attend
from .encoder import Encoder, EncoderLayer


def encode_present(encoder: Encoder, x: Tensor, spans: Spans, absent: Tensor, *, n_layers: int | None = None) -> Tensor:
    """Run an encoder whose tokens look less at those that are absent.

    The score of a key is lowered by how absent its token is, in every layer: at 0 the derivative is that of a weight
    ``1 - absent`` in the softmax. It is one more number of the keys, against a constant of the queries, so that fused
    attention computes it.

    Parameters
    ----------
    encoder
        The encoder.
    x
        [t, d]: rows of all cells.
    spans
        Where each cell's rows stand.
    absent
        [t]: zeros.
    n_layers
        How many layers to run; ``None`` is all of them.

    Returns
    -------
    [t, d].
    """
    for layer in cast(Sequence[EncoderLayer], list(encoder.layers)[:n_layers]):
        query, key, value = layer.project(x)
        width = query.shape[-1]
        # Scores are divided by the root of the width, which is greater by one here.
        query = pad(query * ((width + 1) / width) ** 0.5, (0, 1), value=(width + 1) ** 0.5)
        key = torch.cat([key, -absent[:, None, None].expand(-1, layer.n_heads, 1)], dim=-1)
        mixed = attend(query, key, pad(value, (0, 1)), spans).view(len(x), layer.n_heads, width + 1)
        x = layer.finish(x, layer.out_proj(mixed[..., :-1].flatten(1)))
    return x


def mean_present(x: Tensor, spans: Spans, absent: Tensor) -> Tensor:
    """Mean of each cell's rows, [t, d] -> [b, d], in which absent ones weigh less."""
    weight = (1 - absent)[:, None]
    return spans.mean(x * weight) / spans.mean(weight)


def max_present(x: Tensor, spans: Spans, absent: Tensor) -> Tensor:
    """Maximum of each cell's rows, [t, d] -> [b, d]; as the row that holds it goes, the second largest takes over."""
    cells = []
    for rows, gone in zip(
        x.split_with_sizes(list(spans.lengths)), absent.split_with_sizes(list(spans.lengths)), strict=True
    ):
        largest, at = rows.topk(min(2, len(rows)), dim=0)
        cells.append(largest[0] + gone[at[0]] * (largest[-1] - largest[0]).detach())
    return torch.stack(cells)


def share_growth(values: Tensor, target_sum: float) -> tuple[Tensor, Tensor]:
    """How logarithms of shares grow as one gene leaves the total that they are shares of.

    Parameters
    ----------
    values
        Logarithms of one plus the share of each gene times ``target_sum``.
    target_sum
        What shares are multiplied by.

    Returns
    -------
    growth
        What the logarithm of every other gene's share grows by as the gene leaves.
    slope
        What each value grows by as the logarithm of its own share grows: ``ln(1 + x)`` grows by ``x / (1 + x)`` of what
        ``ln(x)`` grows by.
    """
    growth = -torch.log1p(-(torch.expm1(values) / target_sum).clamp(max=0.999))
    return growth, -torch.expm1(-values)


def gradients(numbers: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Gradient of each of some numbers [k] with respect to each of some tensors: [k, ...] of each."""
    found = [torch.autograd.grad(one, of, retain_graph=True, materialize_grads=True) for one in numbers]
    return [torch.stack(parts) for parts in zip(*found, strict=True)]
