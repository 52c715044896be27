"""The classifier of the authors' example of fine-tuning, which reads genes without T and S."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...nn import Encoder, EncoderLayer, Spans, attention_weights
from .network import ScFoundationNetwork

PADDED_WITH = 103  # position whose vector the authors' padding carries: that of the gene there, by mistake
WIDTH = 256  # of the hidden layer


class CellClassifier(nn.Module):
    """Classes of cells from the maximum over the rows of each cell's genes.

    Parameters
    ----------
    network
        The network whose encoder is read; of its weights only those of :meth:`trainable` are meant to change.
    n_classes
        Number of classes.
    """

    def __init__(self, network: ScFoundationNetwork, n_classes: int) -> None:
        super().__init__()
        dim = network.transformer.norm.weight.shape[0]
        self.network = network
        self.norm = nn.BatchNorm1d(dim, affine=False, eps=1e-6)
        self.fc1 = nn.Sequential(nn.Linear(dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes))

    def trainable(self) -> list[str]:
        """Names of the parameters that the authors train: those of the last layer but one, and of the head."""
        last_but_one = f"network.transformer.encoder.layers.{len(self.network.transformer.encoder.layers) - 2}."
        return [name for name, _ in self.named_parameters() if name.startswith((last_but_one, "fc1."))]

    def forward(self, values: Tensor, positions: Tensor, spans: Spans, *, padded: bool = False) -> Tensor:
        """Return logits [b, c].

        Parameters
        ----------
        values, positions
            Genes of all cells, one cell after the other, [t].
        spans
            Where the genes of each cell stand.
        padded
            Take the maximum over padding too, as the authors' program does where a cell is shorter than the longest
            of its minibatch. What a cell is taken for then depends on its neighbours.
        """
        x = self.network.embedding(values, positions)
        padding = self._padding(x, spans) if padded else None
        encoded = self.network.transformer(x, spans)
        pooled = torch.stack([cell.amax(0) for cell in encoded.split_with_sizes(list(spans.lengths))])
        if padding is not None:
            shorter = torch.tensor(spans.lengths, device=x.device) < max(spans.lengths)
            pooled = torch.where(shorter[:, None], torch.maximum(pooled, padding), pooled)
        logits: Tensor = self.fc1(self.norm(pooled))
        return logits

    def _padding(self, x: Tensor, spans: Spans) -> Tensor:
        """What the encoder makes of a row of padding in each cell, [b, d]: it looks at the genes, they not at it."""
        embedding, transformer = self.network.embedding, self.network.transformer
        pad = torch.full((len(spans.lengths),), embedding.token_emb.pad, device=x.device)
        padding = embedding(pad, torch.full_like(pad, PADDED_WITH, dtype=torch.int64))
        for layer in _layers(transformer.encoder):
            query, (_, key, value) = layer.project(padding)[0], layer.project(x)
            parts = (part.split_with_sizes(list(spans.lengths)) for part in (key, value))
            attended = [
                torch.einsum("qth,thd->qhd", attention_weights(asked[None], keys), values).flatten()
                for asked, keys, values in zip(query, *parts, strict=True)
            ]
            padding, x = layer.finish(padding, layer.out_proj(torch.stack(attended))), layer(x, spans)
        out: Tensor = transformer.norm(padding)
        return out


def _layers(encoder: Encoder) -> list[EncoderLayer]:
    return [layer for layer in encoder.layers if isinstance(layer, EncoderLayer)]
