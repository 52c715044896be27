"""The classifier of the authors' example of fine-tuning, which reads genes without T and S."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm

from ...nn import Encoder, EncoderLayer, Spans, attention_weights

if TYPE_CHECKING:
    from .network import Embedding, Transformer

PADDED_WITH = 103  # position whose vector the authors' padding carries: that of the gene there, by mistake
WIDTH = 256  # of the hidden layer


class CellClassifier(nn.Module):
    """Classes of cells from the maximum over the rows of each cell's genes, [b, d] -> [b, c]."""

    def __init__(self, dim: int, n_classes: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, affine=False, eps=1e-6)
        self.fc1 = nn.Sequential(nn.Linear(dim, WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes))

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits; a cell that is alone in a minibatch is measured by what was seen before."""
        if self.training and len(pooled) == 1:
            normed = batch_norm(pooled, self.norm.running_mean, self.norm.running_var, eps=self.norm.eps)
        else:
            normed = self.norm(pooled)
        logits: Tensor = self.fc1(normed)
        return logits


def trained_for_classes(transformer: Transformer) -> tuple[str, ...]:
    """Beginnings of the names of the parameters that the authors train: the last layer but one, and the head."""
    return f"transformer.encoder.layers.{len(transformer.encoder.layers) - 2}.", "classifier."


def with_padding(pooled: Tensor, x: Tensor, spans: Spans, embedding: Embedding, transformer: Transformer) -> Tensor:
    """Take the maximum over padding too, as the authors' program does where a cell is not its minibatch's longest.

    What a cell is taken for then depends on its neighbours.

    Parameters
    ----------
    pooled
        Maximum over the rows of each cell, [b, d].
    x, spans
        What went into the encoder, [t, d], and where each cell's rows stand.
    embedding, transformer
        Parts of the network.
    """
    shorter = torch.tensor(spans.lengths, device=x.device) < max(spans.lengths)
    padding = _padding(x, spans, embedding, transformer)
    return torch.where(shorter[:, None], torch.maximum(pooled, padding), pooled)


def _padding(x: Tensor, spans: Spans, embedding: Embedding, transformer: Transformer) -> Tensor:
    """What the encoder makes of a row of padding in each cell, [b, d]: it looks at the genes, they not at it."""
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
