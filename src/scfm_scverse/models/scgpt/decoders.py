"""What is read from the transformer's rows: expression, classes, batches."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

MVCStyle = Literal["inner product", "inner product, detach", "concat query", "sum query"]
WIDTH = 64  # of the hidden layers of the last two styles


class Prediction(NamedTuple):
    """Expression, and the probability that it is above zero where the model has it."""

    value: Tensor
    nonzero: Tensor | None

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        """Draw which values are above zero; the others become 0."""
        if self.nonzero is None:
            return self.value
        return self.value * torch.bernoulli(self.nonzero, generator=generator)


def _probability(logits: Tensor) -> Tensor:
    """Probabilities, in float32 at least: in 16 bits one that is near 1 is 1."""
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).sigmoid()


def _tower(dim_in: int, dim: int) -> nn.Sequential:
    layers = (nn.Linear(dim_in, dim), nn.LeakyReLU(), nn.Linear(dim, dim), nn.LeakyReLU(), nn.Linear(dim, 1))
    return nn.Sequential(*layers)


class ExprDecoder(nn.Module):
    """A number for each row; with ``zero_prob`` a second tower tells whether it is above zero."""

    def __init__(self, dim_in: int, dim: int, *, zero_prob: bool = False) -> None:
        super().__init__()
        self.fc = _tower(dim_in, dim)
        self.zero_logit = _tower(dim_in, dim) if zero_prob else None

    def forward(self, rows: Tensor) -> Prediction:
        """Rows [..., d_in] -> numbers [...]."""
        nonzero = None if self.zero_logit is None else _probability(self.zero_logit(rows).squeeze(-1))
        return Prediction(self.fc(rows).squeeze(-1), nonzero)


class AffineDecoder(nn.Module):
    """The decoder of the perturbation model: what a gene's value is multiplied with, and what is added to it."""

    def __init__(self, dim: int, *, zero_prob: bool) -> None:
        super().__init__()
        self.coeff_decoder = ExprDecoder(dim, dim, zero_prob=zero_prob)
        self.bias_decoder = ExprDecoder(dim, dim, zero_prob=zero_prob)

    def forward(self, rows: Tensor) -> tuple[Prediction, Prediction]:
        """Rows [t, d] -> factors and terms [t]; the factor's second number is the probability of being above zero."""
        return self.coeff_decoder(rows), self.bias_decoder(rows)


class MVCDecoder(nn.Module):
    """Expression of a gene in a cell from the vectors of both, in the four ways of the authors.

    The first two compare the cell's vector with a query that is made of the gene's; the second leaves the gene's vector
    out of the gradient. The last two feed both into a small network.
    """

    def __init__(self, dim: int, dim_cell: int, *, style: MVCStyle = "inner product", zero_prob: bool = False) -> None:
        super().__init__()
        self.style = style
        concat, inner = style == "concat query", style.startswith("inner product")
        self.gene2query = nn.Linear(dim, WIDTH if concat else dim)
        if inner:
            self.W = nn.Linear(dim, dim_cell, bias=False)
            self.W_zero_logit = nn.Linear(dim, dim_cell) if zero_prob else None
        else:
            self.fc1 = nn.Linear(dim_cell + WIDTH if concat else dim_cell, WIDTH)
            self.hidden_activation = nn.PReLU()
            self.fc2 = nn.Linear(WIDTH, 1)

    def forward(self, cell: Tensor, genes: Tensor) -> Prediction:
        """Numbers [...] of rows that hold the vectors of a cell [..., d_cell] and of a gene [..., d]."""
        query = self.gene2query(genes.detach() if self.style == "inner product, detach" else genes).sigmoid()
        if self.style in {"concat query", "sum query"}:
            both = torch.cat([cell, query], dim=-1) if self.style == "concat query" else cell + query
            return Prediction(self.fc2(self.hidden_activation(self.fc1(both))).squeeze(-1), None)
        nonzero = None if self.W_zero_logit is None else _probability((self.W_zero_logit(query) * cell).sum(-1))
        return Prediction((self.W(query) * cell).sum(-1), nonzero)


class ClassDecoder(nn.Module):
    """Logits of classes: layers of linear map, activation and normalisation in this order, then a linear map."""

    def __init__(self, dim: int, n_classes: int, n_layers: int, activation: type[nn.Module]) -> None:
        super().__init__()
        layers = [
            layer for _ in range(n_layers - 1) for layer in (nn.Linear(dim, dim), activation(), nn.LayerNorm(dim))
        ]
        self._decoder = nn.Sequential(*layers)
        self.out_layer = nn.Linear(dim, n_classes)

    def forward(self, cell: Tensor) -> Tensor:
        """Vectors of cells [b, d] -> logits [b, c]."""
        out: Tensor = self.out_layer(self._decoder(cell))
        return out


def reverse_gradient(x: Tensor) -> Tensor:
    """Return ``x``; the gradient that comes back has its sign turned."""
    return 2 * x.detach() - x
