"""The network: a BERT encoder over the ranked genes of each cell, without any padding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout

from ...nn import Encoder, Spans
from .heads import MaskedHead


@dataclass(frozen=True)
class Sizes:
    """What ``config.json`` says of the network.

    Attributes
    ----------
    n_genes
        Entries of the vocabulary, special tokens included.
    context
        Tokens of a cell at most.
    dim, n_layers, n_heads, dim_hidden
        Width, layers, heads of each layer, width inside the feed-forward part.
    eps
        Added to the variance in LayerNorm.
    dropout
        Share of values dropped while training.
    """

    n_genes: int
    context: int
    dim: int
    n_layers: int
    n_heads: int
    dim_hidden: int
    eps: float
    dropout: float


class Network(nn.Module):
    """Word, rank and type of every token added up, LayerNorm, encoder; a head on top."""

    def __init__(self, sizes: Sizes, head: nn.Module | None) -> None:
        super().__init__()
        self.sizes = sizes
        self.word = nn.Embedding(sizes.n_genes, sizes.dim)
        self.position = nn.Embedding(sizes.context, sizes.dim)
        self.kind = nn.Embedding(2, sizes.dim)
        self.norm = nn.LayerNorm(sizes.dim, sizes.eps)
        self.encoder = Encoder(
            sizes.n_layers,
            sizes.dim,
            sizes.n_heads,
            sizes.dim_hidden,
            eps=sizes.eps,
            dropout=sizes.dropout,
            drop_hidden=False,
        )
        self.dropout = sizes.dropout
        self.head = head

    @property
    def tied(self) -> tuple[Tensor, ...]:
        """Weights that a head reads as they are, so that their gradients have all rows."""
        return (self.word.weight,) if isinstance(self.head, MaskedHead) else ()

    def embed(self, ids: Tensor, spans: Spans, *, forward: int = 0) -> Tensor:
        """What goes into the first layer, of each token as if it stood so many places further to the front, [t, d]."""
        place = (torch.arange(len(spans.cells)) - spans.starts[spans.cells] - forward).clamp(min=0).to(ids.device)
        x = self.word(ids) + self.position(place) + self.kind.weight[0]
        return dropout(self.norm(x), self.dropout, self.training)

    def forward(self, ids: Tensor, spans: Spans, *, n_layers: int | None = None, read: Tensor | None = None) -> Tensor:
        """Hidden states after ``n_layers`` layers (all if ``None``).

        Parameters
        ----------
        ids
            int64 [t]: tokens of all cells, one cell after the other.
        spans
            Where each cell's tokens stand.
        n_layers
            How many layers to run; 0 returns what goes into the first.
        read
            int64 [b]: the one row of each cell that is read, where the others are not.

        Returns
        -------
        [t, d], or [b, d] with ``read``.
        """
        out: Tensor = self.encoder(self.embed(ids, spans), spans, n_layers=n_layers, read=read)
        return out
