"""What a cell's latents tell of a gene, whichever gene is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from .keys import answers


@dataclass(frozen=True)
class Told:
    """What is told of ``k`` pairs of a cell and a gene, in float32.

    Attributes
    ----------
    value
        [k]: logarithm of one plus counts per 10,000, where the gene is expressed.
    logit
        [k]: logarithm of the odds that it is.
    """

    value: Tensor
    logit: Tensor

    @property
    def expected(self) -> Tensor:
        """Expected value, zeros included, [k]."""
        return self.logit.sigmoid() * self.value


class Decoder(nn.Module):
    """The vector of a gene asks the latents, and what they answer scales and shifts it, as its value did on the way in.

    A gene that is asked for alone tells the same as among others.
    """

    def __init__(self, n_genes: int, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.gene_norm = nn.LayerNorm(dim)
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.out_proj = nn.Linear(dim, 2 * dim)
        self.norm1 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, 2 * dim)
        self.linear2 = nn.Linear(2 * dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, 2)
        self.usual = nn.Embedding(n_genes, 2)  # of each gene, whatever the cell: so that layers learn what differs
        nn.init.zeros_(self.usual.weight)

    def forward(self, genes: Tensor, which: Tensor, memory: Tensor, *, lengths: tuple[int, ...]) -> Tensor:
        """Ask for genes of cells.

        Parameters
        ----------
        genes
            Vectors of genes [u, d].
        which
            int64 [k]: which of them are asked for, one cell after the other.
        memory
            [b, m, d].
        lengths
            Genes that each cell is asked for, [b].

        Returns
        -------
        [k, d].
        """
        genes = self.gene_norm(genes)
        query = self.query(genes).unflatten(-1, (self.n_heads, -1))[which]
        key, value = self.key_value(memory).unflatten(-1, (2, self.n_heads, -1)).unbind(2)
        scale, shift = self.out_proj(answers(query, key, value, lengths)).chunk(2, -1)
        asked = genes[which]
        x = torch.addcmul(asked + shift, asked, scale)
        return cast(Tensor, x + self.linear2(gelu(self.linear1(self.norm1(x)))))

    def tell(self, rows: Tensor, genes: Tensor) -> Told:
        """Rows [k, d] of genes at these positions of the vocabulary, int64 [k] -> expression."""
        value, logit = (self.head(self.norm2(rows)) + self.usual(genes)).float().unbind(-1)
        return Told(value, logit)
