"""The transformer encoder that scGPT, Geneformer and scFoundation share: ReLU, LayerNorm after each residual sum."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import dropout, relu

from .attention import Spans, attend


class EncoderLayer(nn.Module):
    """``a = norm1(x + attention(x)); norm2(a + linear2(relu(linear1(a))))``."""

    def __init__(self, dim: int, n_heads: int, dim_hidden: int, *, eps: float = 1e-5, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = dropout
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
        query, key, value = self.project(x)
        if read is not None:
            query, x = query[read], x[read]
        share = self.dropout if self.training else 0.0
        attended = self.out_proj(attend(query, key, value, spans, dropout=share))
        return self.finish(x, attended)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Everything that follows the attention, row by row."""
        share, train = self.dropout, self.training
        x = self.norm1(x + dropout(attended, share, train))
        hidden = dropout(relu(self.linear1(x)), share, train)
        out: Tensor = self.norm2(x + dropout(self.linear2(hidden), share, train))
        return out


class Encoder(nn.Module):
    """A stack of layers."""

    def __init__(
        self, n_layers: int, dim: int, n_heads: int, dim_hidden: int, *, eps: float = 1e-5, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            EncoderLayer(dim, n_heads, dim_hidden, eps=eps, dropout=dropout) for _ in range(n_layers)
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
            x = layer(x, spans)
        if read is None:
            return x
        return layers[-1](x, spans, read=read) if layers else x[read]
