"""The transformer encoder that scGPT, Geneformer and scFoundation share: ReLU, LayerNorm after each residual sum."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from .attention import Spans, attend, attend_from
from .recompute import run_layer


class EncoderLayer(nn.Module):
    """``a = norm1(x + attention(x)); norm2(a + linear2(relu(linear1(a))))``."""

    def __init__(
        self,
        dim: int,
        n_heads: int,
        dim_hidden: int,
        *,
        eps: float = 1e-5,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_hidden: bool = True,
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
        # Apart, since dropping weights of attention keeps matrices [h, t, t] of every cell for the gradient.
        self.attention_dropout = attention_dropout
        self.drop_hidden = drop_hidden  # BERT drops nothing between its two linear maps, torch's own layer does
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        self.linear1 = nn.Linear(dim, dim_hidden)
        self.linear2 = nn.Linear(dim_hidden, dim)
        self.norm1 = nn.LayerNorm(dim, eps)
        self.norm2 = nn.LayerNorm(dim, eps)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of rows, three times [t, h, d / h]."""
        both: Tensor = self.in_proj(x).view(len(x), 3, self.n_heads, -1)
        return both[:, 0], both[:, 1], both[:, 2]

    def forward(self, x: Tensor, spans: Spans, *, read: Tensor | None = None) -> Tensor:
        """Return the layer's output for every row, [t, d], or only for one row a cell, ``read`` [b] -> [b, d]."""
        if read is not None:
            return self.finish(x[read], self.out_proj(self._attend_from(x, spans, read)))
        attended = attend(*self.project(x), spans, dropout=self.attention_dropout if self.training else 0.0)
        return self.finish(x, self.out_proj(attended))

    def _attend_from(self, x: Tensor, spans: Spans, read: Tensor) -> Tensor:
        """Attention of one row a cell, [b, d], with the projections of keys and values moved to that row's side.

        ``q . (W_k x) = (W_k^T q) . x`` and ``sum(w W_v x) = W_v sum(w x)``, so that no row needs its key and value. The
        bias of the keys adds the same to all scores of a query, which softmax takes out again.
        """
        dim, by_head = x.shape[1], (3, self.n_heads, x.shape[1] // self.n_heads)
        query_weight, key_weight, value_weight = self.in_proj.weight.view(*by_head, dim)
        query_bias, _, value_bias = self.in_proj.bias.view(by_head)
        query = torch.einsum("bd,hed->bhe", x[read], query_weight) + query_bias
        asked = torch.einsum("bhe,hed->bhd", query, key_weight) * query.shape[-1] ** -0.5
        mixed, total = attend_from(asked, x, spans, dropout=self.attention_dropout if self.training else 0.0)
        value: Tensor = torch.einsum("bhd,hed->bhe", mixed, value_weight) + total * value_bias
        return value.flatten(1)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Everything that follows the attention, row by row."""
        share, train = self.dropout, self.training
        x = self.norm1(x + dropout(attended, share, train))
        # In place, which autograd bears here: new memory of this size costs more than what is computed in it.
        hidden = dropout(self.linear1(x).relu_(), share if self.drop_hidden else 0.0, train)
        out: Tensor = self.norm2(dropout(self.linear2(hidden), share, train).add_(x))
        return out


class Encoder(nn.Module):
    """A stack of layers.

    Attributes
    ----------
    recompute
        Compute what is inside a layer a second time for the gradient, instead of keeping it.
    """

    def __init__(
        self,
        n_layers: int,
        dim: int,
        n_heads: int,
        dim_hidden: int,
        *,
        eps: float = 1e-5,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        drop_hidden: bool = True,
    ) -> None:
        super().__init__()
        self.recompute = False
        self.layers = nn.ModuleList(
            EncoderLayer(
                dim,
                n_heads,
                dim_hidden,
                eps=eps,
                dropout=dropout,
                attention_dropout=attention_dropout,
                drop_hidden=drop_hidden,
            )
            for _ in range(n_layers)
        )

    def forward(self, x: Tensor, spans: Spans, *, n_layers: int | None = None, read: Tensor | None = None) -> Tensor:
        """Run the first ``n_layers`` layers (all if ``None``); the last one only for the rows ``read``, if given.

        Parameters
        ----------
        x
            [t, d]: rows of all cells, one after the other.
        spans
            Where each cell's rows stand.
        n_layers
            How many layers to run.
        read
            int64 [b]: the one row of each cell whose output is read.

        Returns
        -------
        [t, d], or [b, d] with ``read``.
        """
        layers = list(self.layers)[:n_layers]
        for layer in layers[:-1] if read is not None else layers:
            x = run_layer(layer, x, spans, recompute=self.recompute)
        if read is None:
            return x
        return run_layer(layers[-1], x, spans, read=read, recompute=self.recompute) if layers else x[read]
