"""Attention inside each of many cells whose tokens stand one after the other, without any padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby

import torch
from torch import Tensor
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
        """Mean of each cell's rows, [t, d] -> [b, d]."""
        return torch.segment_reduce(x, "mean", lengths=torch.tensor(self.lengths, device=x.device), axis=0)


def attend(query: Tensor, key: Tensor, value: Tensor, spans: Spans, *, dropout: float = 0.0) -> Tensor:
    """Softmax attention of each cell among its own tokens.

    Parameters
    ----------
    query
        [t, h, d], or [b, h, d] with one query a cell.
    key, value
        [t, h, d].
    spans
        Where each cell's tokens stand.
    dropout
        Share of the weights that is dropped.

    Returns
    -------
    [t, h * d], or [b, h * d] with one query a cell.
    """
    single = len(query) == len(spans.lengths) and len(query) != len(key)
    parts, cell = [], 0
    for row, n, length in spans.runs:
        rows = slice(row, row + n * length)
        asked, per_cell = (slice(cell, cell + n), 1) if single else (rows, length)
        q = query[asked].reshape(n, per_cell, *query.shape[1:]).transpose(1, 2)
        k, v = (part[rows].reshape(n, length, *part.shape[1:]).transpose(1, 2) for part in (key, value))
        parts.append(scaled_dot_product_attention(q, k, v, dropout_p=dropout).transpose(1, 2).flatten(2).flatten(0, 1))
        cell += n
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def attention_weights(query: Tensor, key: Tensor, heads: Sequence[int] | None = None) -> Tensor:
    """Softmax weights of some queries of one cell to all its tokens, [q, h, d] and [t, h, d] -> [q, t, h]."""
    if heads is not None:
        query, key = query[:, list(heads)], key[:, list(heads)]
    scores: Tensor = torch.einsum("qhd,khd->qkh", query.float(), key.float()) * query.shape[-1] ** -0.5
    return scores.softmax(1)
