"""What stands on top of the encoder: masked genes, classes of cells, classes of genes, several tasks at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, relu

from ...nn import Spans


class MaskedHead(nn.Module):
    """Scores of every gene of the vocabulary for a hidden gene; the decoder is the table of word embeddings."""

    def __init__(self, n_genes: int, dim: int, eps: float) -> None:
        super().__init__()
        self.dense = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps)
        self.bias = nn.Parameter(torch.zeros(n_genes))

    def forward(self, hidden: Tensor, word: Tensor) -> Tensor:
        """Score rows, [t, d] -> [t, v]."""
        return linear(self.norm(relu(self.dense(hidden))), word, self.bias)


class CellClassifier(nn.Module):
    """Scores of classes, read from the first token of each cell: ``<cls>`` in V2, the highest-ranked gene in V1."""

    def __init__(self, dim: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.pooler = nn.Linear(dim, dim)
        self.classifier = nn.Linear(dim, n_classes)

    def forward(self, first: Tensor) -> Tensor:
        """Score cells, [b, d] -> [b, c]."""
        out: Tensor = self.classifier(self.dropout(self.pooler(first).tanh()))
        return out


class GeneClassifier(nn.Module):
    """Scores of classes for every token."""

    def __init__(self, dim: int, n_classes: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(dim, n_classes)

    def forward(self, hidden: Tensor) -> Tensor:
        """Score rows, [t, d] -> [t, c]."""
        out: Tensor = self.classifier(self.dropout(hidden))
        return out


class MultiTaskHead(nn.Module):
    """Scores of the classes of several tasks, read from one vector of each cell.

    The vector is a weighted mean of the cell's tokens if ``pools``, else its first token.
    """

    def __init__(self, dim: int, n_classes: Sequence[int], *, pools: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.attention = nn.Parameter(torch.zeros(dim, 1)) if pools else None
        self.tasks = nn.ModuleList(nn.Linear(dim, n) for n in n_classes)

    def pool(self, hidden: Tensor, spans: Spans) -> Tensor:
        """Vector of each cell, [t, d] -> [b, d]."""
        if self.attention is None:
            return hidden[spans.starts.to(hidden.device)]
        score, cells = (hidden @ self.attention)[:, 0], spans.cells.to(hidden.device)
        highest = torch.segment_reduce(score.detach(), "max", lengths=torch.tensor(spans.lengths, device=score.device))
        weight = (score - highest[cells]).exp()
        n = len(spans.lengths)
        total = weight.new_zeros(n).index_add(0, cells, weight)
        return hidden.new_zeros(n, hidden.shape[1]).index_add(0, cells, hidden * (weight / total[cells])[:, None])

    def forward(self, hidden: Tensor, spans: Spans) -> list[Tensor]:
        """Score cells for each task, [t, d] -> [b, c] a task."""
        pooled = self.dropout(self.pool(hidden, spans))
        return [task(pooled) for task in self.tasks]
