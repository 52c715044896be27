"""The encoder: what a value is, which gene has it, and a transformer over what is expressed."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, linear

from ...nn import Encoder, Spans
from .decoder import Decoder, DecoderSizes, PutRows
from .heads import CellClassifier

Masked = tuple[Tensor, Tensor]
"""Cell and position of each masked gene, int64 [k] each."""


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network.

    Attributes
    ----------
    n_positions
        Genes and the two places of T and S.
    dim, n_layers, n_heads
        Of the encoder.
    n_bins
        Vectors that a value is a mixture of.
    bin_alpha
        Strength of the direct path of the mixture's weights.
    mask, pad
        Values that stand for a masked gene and for padding.
    decoder
        Sizes of the decoder, ``None`` where there is none.
    dropout
        Share that training drops in the encoder.
    n_classes
        Classes of cells that the network tells apart, 0 if it has no head for them.
    """

    n_positions: int
    dim: int
    n_layers: int
    n_heads: int
    n_bins: int
    bin_alpha: float
    mask: float
    pad: float
    decoder: DecoderSizes | None
    dropout: float = 0.1
    n_classes: int = 0


class ValueEmbedding(nn.Module):
    """A value as a mixture of learned vectors, the bins that the network found by itself."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.alpha, self.mask, self.pad = sizes.bin_alpha, sizes.mask, sizes.pad
        self.mlp = nn.Linear(1, sizes.n_bins)
        self.mlp2 = nn.Linear(sizes.n_bins, sizes.n_bins)
        self.emb = nn.Embedding(sizes.n_bins, sizes.dim)
        self.emb_mask = nn.Embedding(1, sizes.dim)
        self.emb_pad = nn.Embedding(1, sizes.dim)

    def weights(self, values: Tensor) -> Tensor:
        """Share of each bin, [t] -> [t, n_bins]."""
        hidden = leaky_relu(_exactly(self.mlp, values[:, None]), 0.1)
        shares: Tensor = (self.alpha * hidden + _exactly(self.mlp2, hidden)).softmax(-1)
        return shares

    def forward(self, values: Tensor) -> Tensor:
        """Vectors of values, [t] -> [t, d]; those of mask and padding have vectors of their own."""
        out = self.weights(values).to(self.emb.weight.dtype) @ self.emb.weight
        for number, vector in ((self.mask, self.emb_mask.weight), (self.pad, self.emb_pad.weight)):
            out = torch.where((values == number)[:, None], vector, out)
        return out


def _exactly(layer: nn.Linear, x: Tensor) -> Tensor:
    """What a linear layer makes of numbers for which its own eight bits may be too few."""
    exact = torch.promote_types(layer.weight.dtype, torch.float32)
    return linear(x.to(exact), layer.weight.to(exact), layer.bias.to(exact))


class Embedding(nn.Module):
    """What goes into the encoder: the vector of a value and that of its position, added."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.token_emb = ValueEmbedding(sizes)
        self.pos_emb = nn.Embedding(sizes.n_positions + 1, sizes.dim)  # the last row is that of padding

    def forward(self, values: Tensor, positions: Tensor) -> Tensor:
        """Values [t] at positions [t] -> [t, d]."""
        out: Tensor = self.token_emb(values) + self.pos_emb(positions)
        return out

    def zeros(self) -> Tensor:
        """Vectors of a value of zero at every position, which the encoder never sees, [n_positions, d]."""
        zero: Tensor = self.token_emb(torch.zeros(1, device=self.pos_emb.weight.device))
        return zero + self.pos_emb.weight[:-1]


class Transformer(nn.Module):
    """Layers and the normalisation behind the last of them."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.encoder = Encoder(sizes.n_layers, sizes.dim, sizes.n_heads, 4 * sizes.dim, dropout=sizes.dropout)
        self.norm = nn.LayerNorm(sizes.dim)

    def forward(self, x: Tensor, spans: Spans, *, n_layers: int | None = None, read: Tensor | None = None) -> Tensor:
        """Encode rows [t, d]; see :class:`~scfm_scverse.nn.Encoder`. ``n_layers=None`` is all of them, normalised."""
        x = self.encoder(x, spans, n_layers=n_layers, read=read)
        return self.norm(x) if n_layers is None else x


class ScFoundationNetwork(nn.Module):
    """Vectors of values and positions, transformer, and the decoder where it is wanted.

    ``encoded = net(values, positions, spans)`` [t, d]; then ``net.decode(encoded, positions, spans)`` [b, n_positions,
    d_decoder], of which ``net.decoder.expression`` makes numbers.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embedding = Embedding(sizes)
        self.transformer = Transformer(sizes)
        self.decoder = None if sizes.decoder is None else Decoder(sizes.dim, sizes.decoder)
        if sizes.n_classes:
            self.classifier = CellClassifier(sizes.dim, sizes.n_classes)

    def forward(self, values: Tensor, positions: Tensor, spans: Spans) -> Tensor:
        """Encode cells whose expressed genes, T and S stand one after the other, [t] and [t] -> [t, d]."""
        out: Tensor = self.transformer(self.embedding(values, positions), spans)
        return out

    def decode(self, encoded: Tensor, positions: Tensor, spans: Spans, masked: Masked | None = None) -> Tensor:
        """Run the decoder over every position of each cell, [b, n_positions, d_decoder].

        Parameters
        ----------
        encoded
            Output of the encoder [t, d].
        positions, spans
            Where its rows stand.
        masked
            Masked genes, none of which the encoder saw.
        """
        if self.decoder is None:
            msg = "This network was made without a decoder."
            raise RuntimeError(msg)
        put = put_rows(self.embedding, encoded, positions, spans, masked)
        table = self.decoder.embed(self.embedding.zeros())
        out: Tensor = self.decoder(self.decoder.fill(table, put, len(spans.lengths)))
        return out


def put_rows(
    embedding: Embedding, encoded: Tensor, positions: Tensor, spans: Spans, masked: Masked | None = None
) -> PutRows:
    """What the decoder reads of expressed and of masked genes.

    Expressed genes receive the vectors of their positions a second time here.
    """
    cells = spans.cells.to(encoded.device)
    if masked is not None:
        vector = embedding.token_emb.emb_mask.weight
        encoded = torch.cat([encoded, vector.expand(len(masked[0]), -1)])
        cells, positions = torch.cat([cells, masked[0]]), torch.cat([positions, masked[1]])
    return PutRows(encoded + embedding.pos_emb(positions), cells, positions)
