"""The network: genes with values are read into latents, latents exchange, a decoder is asked for genes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from ...nn import run_layer
from .decoder import Decoder, Told
from .keys import Padded, Ragged

HIGHEST = 9.2104  # logarithm of one plus 10,000: no gene has more than all counts of its cell
N_KNOTS = 32


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network.

    Attributes
    ----------
    n_genes
        Genes of the vocabulary.
    dim, n_layers, n_heads
        Width, layers and heads, everywhere.
    n_latents
        Vectors that a cell is read into; the first becomes the vector of the cell.
    n_reads
        Layers that begin with reading the genes, spread evenly from the first.
    n_classes
        Classes of a head of cells, 0 where there is none.
    """

    n_genes: int
    dim: int
    n_layers: int
    n_heads: int
    n_latents: int
    n_reads: int
    n_classes: int = 0


class GeneEncoder(nn.Module):
    """Keys and values of genes that have a value: ``gene * (1 + scale(value)) + shift(value)``, normalised.

    ``scale`` and ``shift`` are piecewise linear in the value, with knots from 0 to the largest value there can be.
    """

    def __init__(self, dim: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.value = nn.Linear(N_KNOTS, 2 * dim)
        self.norm = nn.LayerNorm(dim)
        self.key_value = nn.Linear(dim, 2 * dim)

    def forward(self, genes: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Vectors of genes [..., d] and values, float32 [...] -> keys and values of attention, both [..., h, e]."""
        scale, shift = self.value(hats(values).to(genes.dtype)).chunk(2, -1)
        both = self.key_value(self.norm(torch.addcmul(genes + shift, genes, scale)))
        key, value = both.unflatten(-1, (2, self.n_heads, -1)).unbind(-3)
        return key, value


def hats(values: Tensor) -> Tensor:
    """Shares of the two knots that a value lies between, [...] -> float32 [..., N_KNOTS]."""
    at = values.float().clamp(max=HIGHEST) * ((N_KNOTS - 1) / HIGHEST)
    return torch.relu(1 - (at[..., None] - torch.arange(N_KNOTS, device=values.device)).abs())


class Layer(nn.Module):
    """Attention to the genes where the layer reads, attention among latents, two linear maps; each normalised first."""

    def __init__(self, dim: int, n_heads: int, *, reads: bool) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.reads = reads
        if reads:
            self.read_norm = nn.LayerNorm(dim)
            self.read_query = nn.Linear(dim, dim)
            self.read_out = nn.Linear(dim, dim)
        self.norm1 = nn.LayerNorm(dim)
        self.in_proj = nn.Linear(dim, 3 * dim)
        self.out_proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim)
        self.linear1 = nn.Linear(dim, 4 * dim)
        self.linear2 = nn.Linear(4 * dim, dim)

    def forward(self, x: Tensor, keys: Ragged | Padded) -> Tensor:
        """Latents [b, m, d] -> [b, m, d]."""
        if self.reads:
            query = self.read_query(self.read_norm(x)).unflatten(-1, (self.n_heads, -1))
            x = x + self.read_out(keys.answer(query))
        q, k, v = self.in_proj(self.norm1(x)).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        x = x + self.out_proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return cast(Tensor, x + self.linear2(gelu(self.linear1(self.norm2(x)))))


class LatentNetwork(nn.Module):
    """``memory = net(ids, values, lengths)`` [b, m, d], whose first row is the cell; then ``net.tell(memory, ...)``.

    Attributes
    ----------
    recompute
        Compute what is inside the encoder of genes and the layers twice instead of keeping it for the gradient.
    """

    classes: nn.Linear  # where there are any

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.recompute = False
        self.genes = nn.Embedding(sizes.n_genes, sizes.dim)
        self.gene_encoder = GeneEncoder(sizes.dim, sizes.n_heads)
        self.latents = nn.Embedding(sizes.n_latents, sizes.dim)
        reading = {at * sizes.n_layers // sizes.n_reads for at in range(sizes.n_reads)}
        self.layers = nn.ModuleList(
            Layer(sizes.dim, sizes.n_heads, reads=at in reading) for at in range(sizes.n_layers)
        )
        self.norm = nn.LayerNorm(sizes.dim)
        self.decoder = Decoder(sizes.n_genes, sizes.dim, sizes.n_heads)
        if sizes.n_classes:
            with_classes(self, sizes.n_classes)
        for module in (self.genes, self.latents, self.gene_encoder.value):
            nn.init.normal_(module.weight, std=0.02)  # neither the gene nor its value drowns the other

    def forward(self, ids: Tensor, values: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """Read cells whose expressed genes stand one after the other.

        Parameters
        ----------
        ids
            int64 [t]: position of each gene in the vocabulary.
        values
            float32 [t]: logarithm of one plus its counts per 10,000.
        lengths
            Genes of each cell, one at least, [b].

        Returns
        -------
        Latents behind the last layer, normalised, [b, m, d].
        """
        key, value = run_layer(self.gene_encoder, self.genes(ids), values, recompute=self.recompute)
        return self.exchange(Ragged(key, value, lengths), len(lengths))

    def exchange(self, keys: Ragged | Padded, n: int) -> Tensor:
        """Run the layers for ``n`` cells, [b, m, d]."""
        x = self.latents(torch.arange(self.sizes.n_latents, device=self.latents.weight.device)).expand(n, -1, -1)
        for layer in self.layers:
            x = run_layer(layer, x, keys, recompute=self.recompute)
        return cast(Tensor, self.norm(x))

    def rows(self, memory: Tensor, genes: Tensor, lengths: tuple[int, ...]) -> Tensor:
        """Ask for genes of cells: what each is in its cell, [k, d]; see :meth:`tell`."""
        different, which = torch.unique(genes, return_inverse=True)
        inputs = self.genes(different), which, memory
        return cast(Tensor, run_layer(self.decoder, *inputs, lengths=lengths, recompute=self.recompute))

    def tell(self, memory: Tensor, genes: Tensor, lengths: tuple[int, ...]) -> Told:
        """Ask for the expression of genes.

        Parameters
        ----------
        memory
            Latents of the cells, or some of them, [b, m, d].
        genes
            int64 [k]: position in the vocabulary of the genes of all cells, one cell after the other.
        lengths
            How many genes each cell is asked for, [b].
        """
        return self.decoder.tell(self.rows(memory, genes, lengths), genes)


def with_classes(network: LatentNetwork, n: int) -> None:
    """Put a head of ``n`` classes of cells on a network, in place of any other."""
    network.sizes = replace(network.sizes, n_classes=n)
    network.classes = nn.Linear(network.sizes.dim, n)
