"""The network: embeddings of level and gene, layers of linear attention, and one of two heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from ...nn import Performer
from ...nn.favor import KeySums

MASK = 6  # the token that hides a level; also the label that no loss reads


@dataclass(frozen=True)
class Sizes:
    """Sizes of a network.

    Attributes
    ----------
    n_positions
        Genes and the position behind them, whose token is always 0.
    n_tokens
        Tokens: the levels 0 to 5 and the mask.
    dim, n_layers, n_heads, dim_head
        Width, layers, heads and their width, which together is another than the first.
    dim_hidden
        Width inside the feed-forward part.
    n_classes
        Classes of a fine-tuned head; ``None`` has the head of the pretraining.
    """

    n_positions: int
    n_tokens: int
    dim: int
    n_layers: int
    n_heads: int
    dim_head: int
    dim_hidden: int
    n_classes: int | None = None


class Classifier(nn.Module):
    """Scores of classes: one number a position by the same weights, then three layers."""

    def __init__(self, n_positions: int, dim: int, n_classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Linear(dim, 1)
        self.fc1 = nn.Linear(n_positions, 512)
        self.fc2 = nn.Linear(512, 128)
        self.fc3 = nn.Linear(128, n_classes)

    def forward(self, encodings: Tensor) -> Tensor:
        """Score cells, [b, t, d] -> [b, c]."""
        numbers = relu(self.conv1(encodings)[..., 0])
        out: Tensor = self.fc3(relu(self.fc2(relu(self.fc1(numbers)))))
        return out


class Network(nn.Module):
    """scBERT; every cell has all positions, [b, t] with t = n_positions."""

    gene_emb: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.token_emb = nn.Embedding(sizes.n_tokens, sizes.dim)
        # Never trained: vectors from gene2vec, and zeros behind them.
        self.register_buffer("gene_emb", torch.zeros(sizes.n_positions, sizes.dim))
        self.performer = Performer(
            sizes.n_layers, sizes.dim, sizes.n_heads, sizes.dim_head, sizes.dim_hidden, bias=False
        )
        self.norm = nn.LayerNorm(sizes.dim)
        self.to_out: nn.Linear | Classifier
        if sizes.n_classes is None:
            self.to_out = nn.Linear(sizes.dim, sizes.n_tokens)
        else:
            self.to_out = Classifier(sizes.n_positions, sizes.dim, sizes.n_classes)

    def embed(self, tokens: Tensor) -> Tensor:
        """What goes into the first layer, [b, t] -> [b, t, d]."""
        out: Tensor = self.token_emb(tokens) + self.gene_emb
        return out

    def encode(
        self,
        x: Tensor,
        *,
        n_layers: int | None = None,
        read: Tensor | None = None,
        sums: Sequence[KeySums] | None = None,
    ) -> Tensor:
        """Run the layers; the last one is read through the normalisation behind it. See :class:`nn.Performer`."""
        out: Tensor = self.performer(x, n_layers=n_layers, read=read, sums=sums)
        if n_layers is None or n_layers == len(self.performer.layers):
            out = self.norm(out)
        return out

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores of the tokens at every position, [b, t, 7], or of the classes, [b, c]."""
        out: Tensor = self.to_out(self.encode(self.embed(tokens)))
        return out


def freeze(network: Network) -> None:
    """Leave trainable what the authors fine-tune: the last layer but one, the normalisation at the end, the head."""
    network.requires_grad_(False)  # noqa: FBT003 (torch's own signature)
    for part in (network.performer.stack[-2], network.norm, network.to_out):
        part.requires_grad_(True)  # noqa: FBT003
