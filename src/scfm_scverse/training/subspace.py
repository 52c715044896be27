"""A basis of the largest directions of a gradient, from the basis before it instead of a full decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .projection import largest_sign

# Columns that a search from random directions takes along: they help where singular values fall slowly.
_OVERSAMPLING = 32


def power_bases(
    matrix: Tensor, before: dict[str, Tensor], rank: int, kept: Sequence[str], rng: torch.Generator
) -> dict[str, Tensor]:
    """Approximate leading singular vectors of a matrix, in the type of the matrix.

    Parameters
    ----------
    matrix
        A gradient, [m, n], finite and not all zero.
    before
        The bases so far, from which the search starts; those of another rank or none: it starts from random
        directions.
    rank
        How many vectors.
    kept
        Which bases: "left", "right" or both.
    rng
        Where random directions come from.
    """
    exact, found = matrix.float(), {}
    for side in kept:
        tall = exact.T if side == "left" else exact
        columns = before.get(side)
        if columns is not None:
            columns = (columns if side == "left" else columns.T).float()
        columns = leading_columns(tall, columns, min(rank, tall.shape[1]), rng).to(matrix.dtype)
        found[side] = (columns if side == "left" else columns.T).contiguous()
    return found


def leading_columns(matrix: Tensor, before: Tensor | None, rank: int, rng: torch.Generator) -> Tensor:
    """Leading right singular vectors of a matrix, [a, s] -> [s, r].

    A pass of block power iteration from the vectors before, two from random ones, then a rotation (Rayleigh-Ritz) that
    makes single vectors of the subspace, since Adam works coordinate by coordinate. Signs follow the vectors before.
    """
    warm = before is not None and before.shape[1] == rank
    if before is None or not warm:
        columns = min(rank + _OVERSAMPLING, matrix.shape[1])
        start = torch.randn(matrix.shape[1], columns, generator=rng, device=matrix.device)
    else:
        start = before
    size = torch.linalg.matrix_norm(matrix)
    for _ in range(1 if warm else 2):
        start = torch.linalg.qr(matrix.T @ (matrix @ start / size) / size).Q
    product = (matrix @ start / size).double()
    # In float32 a Gram matrix that is nearly singular makes eigh fail.
    gram = product.T @ product
    rotation = torch.linalg.eigh(gram / gram.trace()).eigenvectors.flip(1)[:, :rank]
    found: Tensor = start @ rotation.float()
    if before is None or not warm:
        return found * largest_sign(found)
    along = (before * found).sum(0)
    return torch.where(along < 0, -found, found)
