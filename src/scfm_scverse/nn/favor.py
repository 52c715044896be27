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
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor
from torch.nn.functional import linear, pad

EPSILON = 1e-4
_ALIGNED = 16  # numbers


def n_features(dim_head: int) -> int:
    """Rows of the projection for heads of this width."""
    return int(dim_head * log(dim_head))


def draw_projection(n_rows: int, dim: int, generator: torch.Generator | None = None) -> Tensor:
    """Draw a projection [m, d]: blocks of orthonormal rows, each row scaled by the norm of a Gaussian vector."""
    blocks = [torch.linalg.qr(torch.randn(dim, dim, generator=generator))[0].T for _ in range(-(-n_rows // dim))]
    lengths: Tensor = torch.randn(n_rows, dim, generator=generator).norm(dim=1, keepdim=True)
    return torch.cat(blocks)[:n_rows] * lengths


def products(x: Tensor, projection: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``z`` [..., m] and ``s`` [..., 1] of queries or keys [..., d], times log2(e).

    Powers of 2 take half the time of powers of e.
    """
    scale = x.shape[-1] ** -0.25
    z: Tensor = linear(x, projection * (scale / log(2)))
    s: Tensor = x.square().sum(-1, keepdim=True) * (scale**2 / (2 * log(2)))
    return z, s


def with_one(value: Tensor) -> Tensor:
    """Append a 1 to each value, [..., d] -> [..., d + 1]."""
    out: Tensor = pad(value, (0, 1), value=1.0)
    return out


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
    """What the keys of a cell add up to; the maximum of all of them enters last, in :meth:`table`.

    Attributes
    ----------
    weighted
        float32 [h, e, m]: sum of ``exp(z - s - taken) * value``.
    plain
        float32 [h, e]: sum of the values.
    largest
        float32 [t]: largest ``z`` of each key, times log2(e).
    taken
        float32 []: what was taken off every exponent so that none is large, times log2(e).
    """

    weighted: Tensor
    plain: Tensor
    largest: Tensor
    taken: Tensor

    def table(self, largest: Tensor | None = None) -> Tensor:
        """Features of the keys times values, summed, [h, e, m]; ``largest`` replaces the maximum of these keys."""
        top = self.largest.max() if largest is None else largest
        return self._weighted(top) + EPSILON * self.plain[..., None]

    def exchange(self, rows: Tensor, old: KeySums, new: KeySums) -> KeySums:
        """Return the sums where some keys, ``rows`` [r], were ``old`` and are ``new``."""
        taken = torch.maximum(self.taken, new.taken)
        return KeySums(
            weighted=self._weighted(taken) - old._weighted(taken) + new._weighted(taken),
            plain=self.plain - old.plain + new.plain,
            largest=self.largest.index_copy(0, rows, new.largest),
            taken=taken,
        )

    def _weighted(self, taken: Tensor) -> Tensor:
        return self.weighted * torch.exp2(self.taken - taken)


def sum_keys(parts: Iterable[tuple[Tensor, Tensor]], projection: Tensor) -> KeySums:
    """Sum keys and values, which come in parts that fit the processor's cache: pairs of [t, h, d] and [t, h, e]."""
    exact = torch.promote_types(projection.dtype, torch.float32)
    taken = projection.new_full((), -torch.inf, dtype=exact)
    weighted, plain = projection.new_zeros((), dtype=exact), projection.new_zeros((), dtype=exact)
    largest, aligned = [], _aligned(projection)
    for key, value in parts:
        z, s = products(key, aligned)
        largest.append(z.amax((1, 2)).to(exact))
        before, taken = taken, torch.maximum(taken, largest[-1].max())
        exponentials = z.sub_(s + taken).exp2_()[..., : len(projection)]
        part = torch.bmm(value.permute(1, 2, 0), exponentials.transpose(0, 1))
        weighted = torch.addcmul(part.to(exact), weighted, torch.exp2(before - taken))
        plain = plain + value.sum(0, dtype=exact)
    return KeySums(weighted, plain, torch.cat(largest), taken)


def answer(query: Tensor, table: Tensor, projection: Tensor) -> Tensor:
    """Attention of queries [t, h, d] to the keys of a table [h, e, m], [t, h * d]."""
    z, s = products(query, _aligned(projection))
    exponentials = z.sub_(z.amax(-1, keepdim=True).add_(s)).exp2_()[..., : len(projection)]
    rest = EPSILON * table.sum(-1, keepdim=True)  # what the epsilon of the query's features adds
    table, rest = table.to(query.dtype), rest.to(query.dtype)
    out = torch.baddbmm(rest, table, exponentials.permute(1, 2, 0))
    return (out[:, :-1] / out[:, -1:]).permute(2, 0, 1).flatten(1)


def _aligned(projection: Tensor) -> Tensor:
    """Repeat some rows, so that products start where the processor likes rows to start; no maximum changes."""
    return torch.cat([projection, projection[: -len(projection) % _ALIGNED]])


def query_features(query: Tensor, projection: Tensor) -> Tensor:
    """Features of queries [t, h, d], [t, h, m]."""
    z, s = products(query, projection)
    return torch.exp2(z - (z.amax(-1, keepdim=True) + s)) + EPSILON


def key_features(key: Tensor, projection: Tensor, largest: Tensor) -> Tensor:
    """Features of keys [t, h, d], [t, h, m], given the largest ``z`` of all keys of their cell, times log2(e)."""
    z, s = products(key, projection)
    return torch.exp2(z - (s + largest)) + EPSILON
