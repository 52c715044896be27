"""Attention inside each of many cells whose tokens stand one after the other, without any padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import dropout as drop
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Spans:
    """Where the tokens of each cell stand.

    Attributes
    ----------
    lengths
        Tokens of each cell, one at least, [b].
    """

    lengths: tuple[int, ...]

    @cached_property
    def runs(self) -> tuple[tuple[int, int, int], ...]:
        """First row, number of cells and length of each run of neighbouring cells of one length."""
        runs, row = [], 0
        for length, cells in groupby(self.lengths):
            n = len(list(cells))
            runs.append((row, n, length))
            row += n * length
        return tuple(runs)

    @cached_property
    def starts(self) -> Tensor:
        """Row of the first token of each cell, int64 [b]."""
        return torch.tensor([0, *self.lengths[:-1]], dtype=torch.int64).cumsum(0)

    @cached_property
    def cells(self) -> Tensor:
        """Cell of each row, int64 [t]."""
        return torch.repeat_interleave(torch.tensor(self.lengths))

    def mean(self, x: Tensor) -> Tensor:
        """Mean of each cell's rows in float32, [t, d] -> [b, d]."""
        # Not segment_reduce, which adds bfloat16 up in bfloat16 and is nine times slower.
        return torch.stack([rows.mean(0, dtype=torch.float32) for rows in torch.split(x, list(self.lengths))])


def attend(query: Tensor, key: Tensor, value: Tensor, spans: Spans, *, dropout: float = 0.0) -> Tensor:
    """Softmax attention of each cell among its own tokens.

    Parameters
    ----------
    query, key, value
        [t, h, d].
    spans
        Where each cell's tokens stand.
    dropout
        Share of the weights that is dropped.

    Returns
    -------
    [t, h * d].
    """
    # Split and not sliced: the gradient of a slice is as large as what it was cut from, once for each slice.
    sizes = [n * length for _, n, length in spans.runs]
    cut = (torch.split(one, sizes) for one in (query, key, value))
    parts = []
    for (_, n, length), *rows in zip(spans.runs, *cut, strict=True):
        q, k, v = (one.unflatten(0, (n, length)).transpose(1, 2) for one in rows)
        parts.append(scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(2).flatten(0, 1))
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def attention_weights(query: Tensor, key: Tensor, heads: Sequence[int] | None = None) -> Tensor:
    """Softmax weights of some queries of one cell to all its tokens, [q, h, d] and [t, h, d] -> [q, t, h]."""
    if heads is not None:
        query, key = query[:, list(heads)], key[:, list(heads)]
    scores: Tensor = torch.einsum("qhd,khd->qkh", query.float(), key.float()) * query.shape[-1] ** -0.5
    return scores.softmax(1)


def attend_from(asked: Tensor, x: Tensor, spans: Spans, *, dropout: float = 0.0) -> tuple[Tensor, Tensor]:
    """Mix each cell's rows with the softmax of what one query a cell asks of them, in float32.

    Parameters
    ----------
    asked
        [b, h, d]: the score of a row is its product with this, for each cell and head.
    x
        [t, d].
    spans
        Where each cell's rows stand.
    dropout
        Share of the weights that is dropped.

    Returns
    -------
    The mixed rows, [b, h, d], and the sum of their weights, [b, h, 1], which is one unless some are dropped; both of
    the type of ``x``.
    """
    mixed, total, cell = [], [], 0
    for row, n, length in spans.runs:
        rows = x[row : row + n * length].reshape(n, length, -1).float()
        scores = asked[cell : cell + n].float() @ rows.transpose(1, 2)
        weights = drop(scores.softmax(-1), dropout)
        mixed.append(weights @ rows)
        total.append(weights.sum(-1, keepdim=True))
        cell += n
    return torch.cat(mixed).to(x.dtype), torch.cat(total).to(x.dtype)
