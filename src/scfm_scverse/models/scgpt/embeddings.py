"""What tokens are before the transformer: vectors of genes, values and batches, and their normalisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_VALUE = 512
EPS = 6.1e-5  # the authors' for batch normalisation: the smallest normal number of float16


class TokenEncoder(nn.Module):
    """A table of vectors, normalised: of genes, batches, modalities, or of values that are categories."""

    def __init__(self, n: int, dim: int, *, padding: int | None = None) -> None:
        super().__init__()
        self.embedding = nn.Embedding(n, dim, padding_idx=padding)
        self.enc_norm = nn.LayerNorm(dim)

    def forward(self, ids: Tensor) -> Tensor:
        """Vectors of ids, [t] -> [t, d]; values that are categories may come as floats."""
        out: Tensor = self.enc_norm(self.embedding(ids.long()))
        return out


class ContinuousEncoder(nn.Module):
    """A vector of a number: two layers, then normalised."""

    def __init__(self, dim: int, dropout: float) -> None:
        super().__init__()
        self.linear1 = nn.Linear(1, dim)
        self.linear2 = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Tensor) -> Tensor:
        """Vectors of numbers, [t] -> [t, d]; those of masks and of <cls> are negative."""
        hidden = torch.relu(self.linear1(values.clamp(max=LARGEST_VALUE)[:, None]))
        out: Tensor = self.dropout(self.norm(self.linear2(hidden)))
        return out


class BatchNorm(nn.BatchNorm1d):
    """Normalisation over all rows, as models have it that were fine-tuned before the autumn of 2023."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=EPS)


class DomainNorm(nn.Module):
    """Normalisation over the rows of each batch, by its own mean and variance."""

    def __init__(self, n_batches: int, dim: int) -> None:
        super().__init__()
        self.bns = nn.ModuleList(nn.BatchNorm1d(dim, eps=EPS, affine=False) for _ in range(n_batches))

    def forward(self, x: Tensor, batches: Tensor) -> Tensor:
        """Rows [t, d] of cells of these batches, int64 [t]."""
        found = sorted(set(batches.tolist()))
        if len(found) == 1:
            one: Tensor = self.bns[found[0]](x)
            return one
        out = torch.empty_like(x)
        for batch in found:
            rows = batches == batch
            out[rows] = self.bns[batch](x[rows])
        return out
