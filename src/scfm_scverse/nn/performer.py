"""The stack of linear-attention layers of scBERT and of scFoundation's decoder: LayerNorm before each branch, GELU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, layer_norm

from .favor import (
    KeySums,
    answer,
    attend_plain,
    draw_projection,
    key_features,
    n_features,
    query_features,
    sum_keys,
    with_one,
)
from .recompute import run_layer

# Tensors of a layer as the published checkpoints call them, after ``layers.{i}.`` -> here.
PUBLISHED_NAMES = {
    "0.norm": "norm1",
    "0.fn.fast_attention.projection_matrix": "attention.projection",
    "0.fn.to_q": "attention.to_q",
    "0.fn.to_k": "attention.to_k",
    "0.fn.to_v": "attention.to_v",
    "0.fn.to_out": "attention.to_out",
    "1.norm": "norm2",
    "1.fn.fn.w1": "linear1",
    "1.fn.fn.w2": "linear2",
}
_ROWS = 256  # rows of features that a processor's cache holds; a GPU takes a cell at once


class FavorAttention(nn.Module):
    """Linear attention of every cell among its own tokens; see :mod:`scfm_scverse.nn.favor`."""

    projection: Tensor

    def __init__(self, dim: int, n_heads: int, dim_head: int, *, bias: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.to_q = nn.Linear(dim, n_heads * dim_head, bias)
        self.to_k = nn.Linear(dim, n_heads * dim_head, bias)
        self.to_v = nn.Linear(dim, n_heads * dim_head, bias)
        self.to_out = nn.Linear(n_heads * dim_head, dim)
        self.register_buffer("projection", draw_projection(n_features(dim_head), dim_head))

    def heads(self, x: Tensor) -> Tensor:
        """Split the last dimension, [..., h * d] -> [..., h, d]."""
        return x.view(*x.shape[:-1], self.n_heads, -1)

    def plain(self, asked: Tensor, x: Tensor, *, over_batch: bool) -> Tensor:
        """Attention of ``asked`` [b, r, d] to ``x`` [b, t, d] with gradients, [b, r, d]."""
        query, key, value = self.heads(self.to_q(asked)), self.heads(self.to_k(x)), self.heads(self.to_v(x))
        out: Tensor = self.to_out(attend_plain(query, key, value, self.projection, over_batch=over_batch).flatten(-2))
        return out

    def sum_keys(self, parts: Sequence[Tensor] | Iterator[Tensor]) -> KeySums:
        """Sums of the keys and values of one cell, whose rows [t, d] come in parts."""
        pairs = ((self.heads(self.to_k(part)), with_one(self.heads(self.to_v(part)))) for part in parts)
        return sum_keys(pairs, self.projection)

    def answer(self, x: Tensor, table: Tensor) -> Tensor:
        """Attention of rows [t, d] to the keys of a table [h, e, m], [t, d]."""
        out: Tensor = self.to_out(answer(self.heads(self.to_q(x)), table, self.projection))
        return out


class PerformerLayer(nn.Module):
    """``a = x + attention(norm1(x)); a + linear2(gelu(linear1(norm2(a))))``.

    With gradients the attention is computed by its formula, without them part by part, so that the features of a cell
    (16,907 x 10 x 266 numbers in scBERT) never leave the processor's cache.
    """

    def __init__(self, dim: int, n_heads: int, dim_head: int, dim_hidden: int, *, bias: bool) -> None:
        super().__init__()
        self.over_batch = False
        self.norm1 = nn.LayerNorm(dim)
        self.attention = FavorAttention(dim, n_heads, dim_head, bias=bias)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, dim_hidden)
        self.linear2 = nn.Linear(dim_hidden, dim)

    def forward(self, x: Tensor, *, read: Tensor | None = None, sums: Sequence[KeySums] | None = None) -> Tensor:
        """Return the layer's output for every row, [b, t, d], or only for the rows ``read`` [r], [b, r, d]."""
        return self.feed(self.attend(x, read=read, sums=sums))

    def attend(self, x: Tensor, *, read: Tensor | None = None, sums: Sequence[KeySums] | None = None) -> Tensor:
        """Return the first half of the layer; ``sums`` spares those of :meth:`sum_keys`, one a cell."""
        asked = x if read is None else x[:, read]
        if torch.is_grad_enabled():
            return asked + self.attention.plain(
                _normed(self.norm1, asked), _normed(self.norm1, x), over_batch=self.over_batch
            )
        sums = [self.sum_keys(cell) for cell in x] if sums is None else sums
        largest = torch.stack([one.largest.max() for one in sums])
        largest = largest.max().expand_as(largest) if self.over_batch else largest
        out = torch.empty_like(asked)
        for cell, target, one, top in zip(asked, out, sums, largest, strict=True):
            table = one.table(top)
            for rows, part in zip(_parts(cell), _parts(target), strict=True):
                torch.add(rows, self.attention.answer(_normed(self.norm1, rows), table), out=part)
        return out

    def sum_keys(self, cell: Tensor) -> KeySums:
        """Sums of the keys of one cell [t, d]."""
        return self.attention.sum_keys(_normed(self.norm1, part) for part in _parts(cell))

    def feed(self, x: Tensor) -> Tensor:
        """Return the second half of the layer, row by row, [..., d]."""
        if torch.is_grad_enabled():
            return x + self._hidden(x)
        out = torch.empty_like(x)
        for rows, part in zip(_parts(x.flatten(0, -2)), _parts(out.view(-1, x.shape[-1])), strict=True):
            torch.add(rows, self._hidden(rows), out=part)
        return out

    def _hidden(self, x: Tensor) -> Tensor:
        out: Tensor = self.linear2(gelu(self.linear1(_normed(self.norm2, x))))
        return out

    def weights_of(self, cell: Tensor, read: Tensor) -> Tensor:
        """Attention weights of some rows of a cell [t, d] to all of them, [r, t, h]."""
        inside = self.attention
        largest = self.sum_keys(cell).largest.max()
        query = query_features(inside.heads(inside.to_q(_normed(self.norm1, cell[read]))), inside.projection)
        parts = []
        for part in _parts(cell):
            key = key_features(inside.heads(inside.to_k(_normed(self.norm1, part))), inside.projection, largest)
            parts.append(torch.einsum("rhm,thm->rth", query, key))
        weights = torch.cat(parts, 1)
        return weights / weights.sum(1, keepdim=True)

    def mean_weights(self, cell: Tensor) -> Tensor:
        """Attention weight of every row of a cell [t, d], mean over all its queries, [t, h], in linear time."""
        inside = self.attention
        sums = self.sum_keys(cell)
        largest = sums.largest.max()
        of_keys = sums.table()[:, -1]
        of_queries = torch.zeros_like(of_keys)
        for part in _parts(cell):
            query = query_features(inside.heads(inside.to_q(_normed(self.norm1, part))), inside.projection)
            of_queries += torch.einsum("thm,th->hm", query, 1 / torch.einsum("thm,hm->th", query, of_keys))
        of_queries /= len(cell)
        parts = []
        for part in _parts(cell):
            key = key_features(inside.heads(inside.to_k(_normed(self.norm1, part))), inside.projection, largest)
            parts.append(torch.einsum("thm,hm->th", key, of_queries))
        return torch.cat(parts)


class Performer(nn.Module):
    """A stack of layers.

    Attributes
    ----------
    redraw_every
        Counted calls in training mode between two draws of new projections; ``None`` keeps the projections.
    calls
        Counted calls since the last draw.
    recompute
        Compute what is inside a layer a second time for the gradient, instead of keeping it.
    """

    calls: Tensor

    def __init__(
        self, n_layers: int, dim: int, n_heads: int, dim_head: int, dim_hidden: int, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.redraw_every: int | None = None
        self.recompute = False
        self.layers = nn.ModuleList(
            PerformerLayer(dim, n_heads, dim_head, dim_hidden, bias=bias) for _ in range(n_layers)
        )
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    @property
    def stack(self) -> list[PerformerLayer]:
        """The layers, first to last."""
        return [cast(PerformerLayer, layer) for layer in self.layers]

    def as_published(self, redraw_every: int = 1000) -> None:
        """Take key maxima over the whole minibatch and draw new projections in training, as the original does."""
        self.redraw_every = redraw_every
        for layer in self.stack:
            layer.over_batch = True

    def forward(
        self,
        x: Tensor,
        *,
        n_layers: int | None = None,
        read: Tensor | None = None,
        sums: Sequence[KeySums] | None = None,
    ) -> Tensor:
        """Run the first ``n_layers`` layers (all if ``None``); the last one only for the rows ``read``, if given.

        Parameters
        ----------
        x
            [b, t, d]: all cells have the same tokens.
        n_layers
            How many layers to run.
        read
            int64 [r]: rows whose output is read.
        sums
            Sums of the keys of each cell in the first layer, where they are known already.

        Returns
        -------
        [b, t, d], or [b, r, d] with ``read``.
        """
        self.count_call()
        layers, dtype = self.stack[:n_layers], x.dtype
        # Cells differ little from each other beside what all share; eight bits would lose it from sum to sum.
        x = x.to(torch.promote_types(dtype, torch.float32))
        for layer in layers:
            part = {"read": read if layer is layers[-1] else None, "sums": sums if layer is layers[0] else None}
            x = run_layer(layer, x, recompute=self.recompute, **part)
        return (x if layers or read is None else x[:, read]).to(dtype)

    def count_call(self) -> None:
        """Draw new projections where enough calls in training mode were counted; the call that draws is not."""
        if not self.training or self.redraw_every is None:
            return
        if int(self.calls) < self.redraw_every:
            self.calls += 1
            return
        self.calls.zero_()
        for layer in self.stack:
            old = layer.attention.projection
            old.copy_(draw_projection(*old.shape))


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    """Normalise in the precision of ``x``; the result has that of the layer."""
    weight, bias = norm.weight.to(x.dtype), norm.bias.to(x.dtype)
    return layer_norm(x, norm.weight.shape, weight, bias, norm.eps).to(norm.weight.dtype)


def _parts(x: Tensor) -> Sequence[Tensor]:
    return torch.split(x, _ROWS if x.device.type == "cpu" else len(x))
