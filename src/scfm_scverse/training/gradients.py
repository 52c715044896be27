"""What stands for the gradients between the backward pass and the step, and clipping over all of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .projection import entries, norm, project


@dataclass
class Projected:
    """Sum of projected gradients of a matrix since the last step.

    Attributes
    ----------
    low
        Coordinates in the bases.
    rest
        Sum of the norms of what the bases do not hold.
    """

    low: Tensor
    rest: Tensor

    @classmethod
    def of(cls, grad: Tensor, state: dict[str, Any], dtype: torch.dtype) -> Projected:
        """Project one gradient, in a type."""
        low = project(grad, state, dtype)
        whole, held = norm(entries(grad)), norm(low)
        return cls(low, (whole.square() - held.square()).clamp(min=0).sqrt())

    def __add__(self, other: Projected) -> Projected:
        return Projected(self.low.add_(other.low), self.rest + other.rest)

    def scale(self, factor: Tensor) -> None:
        """Multiply the gradients."""
        self.low *= factor
        self.rest *= factor


def clip_(grads: Iterable[Tensor], projected: Iterable[Projected], max_norm: float) -> Tensor:
    """Scale gradients in place so that the norm over all of them is at most ``max_norm``; return the norm before."""
    grads, projected = list(grads), list(projected)
    norms = [norm(grad) for grad in grads] + [part for one in projected for part in (norm(one.low), one.rest)]
    if not norms:
        return torch.zeros(())
    total = norm(torch.stack([one.to(norms[0].device) for one in norms]))
    factor = (max_norm / (total + 1e-6)).clamp(max=1)
    for grad in grads:
        grad.mul_(factor.to(grad.device))
    for one in projected:
        one.scale(factor.to(one.low.device))
    return total
