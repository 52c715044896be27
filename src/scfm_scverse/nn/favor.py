"""Linear attention through random features (FAVOR+, Choromanski et al., ICLR 2021), as scBERT and scFoundation use it.

For a query or key ``x`` of width ``d`` and a projection of ``m`` rows, ``z`` is the product of ``x / d^(1/4)`` and the
rows, ``s = |x|^2 / (2 d^(1/2))``. The features of a query are ``exp(z - s - max z) + 1e-4``, each query's own maximum
taken off; those of a key ``exp(z - s - M) + 1e-4``, where ``M`` is the largest ``z`` of all keys and heads. The weight
of a key is the product of both features, divided by the sum of these products over all keys.

Queries and keys are [t, h, d] here. Values are [t, h, e] with e = d + 1: the last number is 1, so that the sum of the
weights comes out of the same product as the weighted sum of the values.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import log

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

EPSILON = 1e-4
_EXPONENT = 40.0  # exponents up to here leave float32 room on either side


def n_features(dim_head: int) -> int:
    """Rows of the projection for heads of this width."""
    return int(dim_head * log(dim_head))


def draw_projection(n_rows: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw a projection [m, d]: blocks of orthonormal rows, each row scaled by the norm of a Gaussian vector."""
    blocks = [torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0].T for _ in range(-(-n_rows // dim))]
    lengths = torch.randn(n_rows, dim, generator=generator).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:n_rows] * lengths


def products(x: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``z`` [..., m] and ``s`` [..., 1] of queries or keys [..., d]."""
    scale = x.shape[-1] ** -0.25
    return linear(x, projection * scale), x.square().sum(-1, keepdim=True) * (scale**2 / 2)


def with_one(value: Tensor) -> Tensor:
    """Append a 1 to each value, [..., d] -> [..., d + 1]."""
    return pad(value, (0, 1), value=1.0)


def attend_plain(query: Tensor, key: Tensor, value: Tensor, projection: Tensor, *, over_batch: bool = False) -> Tensor:
    """Attention by the formula, for gradients: everything is held at once.

    Parameters
    ----------
    query, key, value
        [b, r, h, d], [b, t, h, d] and [b, t, h, d].
    projection
        [m, d].
    over_batch
        Take the largest ``z`` over all cells, not over each cell.

    Returns
    -------
    [b, r, h, d].
    """
    z = products(key, projection)[0]
    largest = z.amax() if over_batch else z.amax((1, 2, 3), keepdim=True)
    table = torch.einsum("bthm,bthe->bhme", key_features(key, projection, largest), with_one(value))
    out = torch.einsum("brhm,bhme->brhe", query_features(query, projection), table)
    return out[..., :-1] / out[..., -1:]


@dataclass(frozen=True)
class KeySums:
    """What the keys of a cell add up to.

    ``exp(z - s)`` is at most ``exp(|row of the projection|^2 / 2)`` whatever the key is, so it can be summed before
    the maximum is known; that enters in :meth:`table`.

    Attributes
    ----------
    weighted
        float32 [h, m, e]: sum of ``exp(z - s - bound) * value``.
    plain
        float32 [h, e]: sum of the values.
    largest
        float32 [t]: largest ``z`` of each key.
    bound
        float32 []: what is taken off every exponent.
    """

    weighted: Tensor
    plain: Tensor
    largest: Tensor
    bound: Tensor

    def table(self, largest: Tensor | None = None) -> Tensor:
        """Features of the keys times values, summed, [h, m, e]; ``largest`` replaces the maximum of these keys."""
        top = self.largest.max() if largest is None else largest
        return self.weighted * torch.exp(self.bound - top) + EPSILON * self.plain[:, None]

    def exchange(self, rows: Tensor, old: KeySums, new: KeySums) -> KeySums:
        """Return the sums where some keys, ``rows`` [r], were ``old`` and are ``new``."""
        largest = self.largest.index_copy(0, rows, new.largest)
        weighted, plain = self.weighted - old.weighted + new.weighted, self.plain - old.plain + new.plain
        return replace(self, weighted=weighted, plain=plain, largest=largest)


def sum_keys(parts: Iterable[tuple[Tensor, Tensor]], projection: Tensor) -> KeySums:
    """Sum keys and values, which come in parts that fit the processor's cache: pairs of [t, h, d] and [t, h, e]."""
    bound = (projection.float().square().sum(1).max() / 2 - _EXPONENT).clamp(min=0)
    weighted, plain, largest = [], [], []
    for key, value in parts:
        z, s = products(key, projection)
        largest.append(z.amax((1, 2)).float())
        exponentials = z.sub_(s + bound).exp_()
        part = torch.bmm(exponentials.permute(1, 2, 0), value.transpose(0, 1))
        weighted = [part.float() if not weighted else weighted[0].add_(part)]
        plain.append(value.sum(0, dtype=torch.float32))
    return KeySums(weighted[0], torch.stack(plain).sum(0), torch.cat(largest), bound)


def answer(query: Tensor, table: Tensor, projection: Tensor) -> Tensor:
    """Attention of queries [t, h, d] to the keys of a table [h, m, e], [t, h * d]."""
    z, s = products(query, projection)
    exponentials = z.sub_(z.amax(-1, keepdim=True).add_(s)).exp_()
    rest = EPSILON * table.sum(1, keepdim=True)  # what the epsilon of the query's features adds
    table, rest = table.to(query.dtype), rest.to(query.dtype)
    out = torch.baddbmm(rest, exponentials.transpose(0, 1), table)
    return (out[..., :-1] / out[..., -1:]).transpose(0, 1).flatten(1)


def query_features(query: Tensor, projection: Tensor) -> Tensor:
    """Features of queries [t, h, d], [t, h, m]."""
    z, s = products(query, projection)
    return torch.exp(z - (z.amax(-1, keepdim=True) + s)) + EPSILON


def key_features(key: Tensor, projection: Tensor, largest: Tensor) -> Tensor:
    """Features of keys [t, h, d], [t, h, m], given the largest ``z`` of all keys of their cell."""
    z, s = products(key, projection)
    return torch.exp(z - (s + largest)) + EPSILON
