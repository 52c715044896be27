"""Bases of the largest directions of a gradient: what is kept of it, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

ProjType = Literal["std", "reverse_std", "left", "right", "full"]

_LONG_SIDE = {"std": "right", "reverse_std": "left", "left": "left", "right": "right"}
_WIDE_SIDE = {"std": "left", "reverse_std": "right", "left": "left", "right": "right"}
PROJ_TYPES = (*_LONG_SIDE, "full")


def sides(proj_type: str, shape: tuple[int, ...]) -> tuple[str, ...]:
    """Which bases a matrix has: "left", [m, r], and "right", [r, n]."""
    if proj_type == "full":
        return ("left", "right")
    return ((_LONG_SIDE if shape[0] >= shape[1] else _WIDE_SIDE)[proj_type],)


def low_rank_shape(shape: tuple[int, ...], rank: int, proj_type: str) -> tuple[int, int]:
    """Shape of the coordinates of a matrix [m, n] in its bases."""
    kept, rank = sides(proj_type, shape), min(rank, *shape)
    return rank if "left" in kept else shape[0], rank if "right" in kept else shape[1]


def as_matrix(tensor: Tensor) -> Tensor:
    """View a tensor with more than two axes as a matrix, its first axis the rows."""
    return tensor if tensor.ndim <= 2 else tensor.view(tensor.shape[0], -1)


def dense_or_coalesced(grad: Tensor) -> Tensor:
    """Gradient as a matrix, or with each row once where it is sparse."""
    return grad.coalesce() if grad.is_sparse else as_matrix(grad)


def entries(grad: Tensor) -> Tensor:
    """Numbers of a gradient: those of its rows where it is sparse."""
    return grad.values() if grad.is_sparse else grad


def norm(x: Tensor) -> Tensor:
    """Square root of the sum of squares, added up in float32 at least."""
    total: Tensor = torch.linalg.vector_norm(x, dtype=torch.promote_types(x.dtype, torch.float32))
    return total


def has_bases(state: dict[str, Any]) -> bool:
    """Whether a state is of low rank."""
    return "left" in state or "right" in state


def project(grad: Tensor, state: dict[str, Any], dtype: torch.dtype) -> Tensor:
    """Coordinates of a gradient [m, n] in its bases, [m, r], [r, n] or [r, r], computed in a type.

    The gradient is dense or, with each row once, sparse in its rows.
    """
    rows = grad.indices()[0] if grad.is_sparse else slice(None)
    low = entries(grad).to(dtype)
    if "left" in state:
        low = state["left"][rows].to(dtype).T @ low
    if "right" in state:
        low = low @ state["right"].to(dtype).T
    if grad.is_sparse and "left" not in state:
        return low.new_zeros(len(grad), low.shape[1]).index_copy_(0, grad.indices()[0], low)
    return low


def factors(low: Tensor, state: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Two matrices whose product has the size of the weight and these coordinates in the bases."""
    if "left" not in state:
        return low, state["right"]
    return state["left"], low @ state["right"].to(low.dtype) if "right" in state else low


def exact_bases(matrix: Tensor, rank: int, kept: Sequence[str]) -> dict[str, Tensor]:
    """Leading singular vectors of a matrix, each with its entry of largest magnitude positive.

    The sign of a singular vector is arbitrary, and moments are kept from one basis to the next, so that without a rule
    the training would depend on the library that computes them. Found in float64, given in the type of the matrix.
    """
    u, _, vt = torch.linalg.svd(matrix.double(), full_matrices=False)
    vectors = {"left": u[:, :rank], "right": vt[:rank].T}
    bases = {side: vectors[side] * largest_sign(vectors[side]) for side in kept}
    # Copies: a view would keep every singular vector alive.
    return {
        side: (columns if side == "left" else columns.T).to(matrix.dtype).clone(memory_format=torch.contiguous_format)
        for side, columns in bases.items()
    }


def largest_sign(columns: Tensor) -> Tensor:
    """Sign of the entry of largest magnitude of each column, [1, r]."""
    return columns.gather(0, columns.abs().argmax(0, keepdim=True)).sign()
