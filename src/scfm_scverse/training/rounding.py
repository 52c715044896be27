"""Writing float32 results into weights of fewer bits, without a full-size float32 copy and without losing updates."""

from __future__ import annotations

import torch
from torch import Tensor

# Elements of a weight that are held in float32 at a time.
_BLOCK = 2**20


def round_to_bfloat16(x: Tensor, rng: torch.Generator) -> Tensor:
    """Round float32 to one of the two bfloat16 neighbours at random, so that the mean is the value itself.

    To the nearest, updates below 1/256 of a weight would vanish.
    """
    # Four times 16 random bits at a time.
    words = torch.empty(x.numel() // 4 + 1, dtype=torch.int64, device=x.device).random_(-(2**63), None, generator=rng)
    noise = words.view(torch.int16)[: x.numel()].view(x.shape).to(torch.int32).bitwise_and_(0xFFFF)
    return noise.add_(x.contiguous().view(torch.int32)).bitwise_and_(-(1 << 16)).view(torch.float32).bfloat16()


def rounded(x: Tensor, dtype: torch.dtype, rng: torch.Generator) -> Tensor:
    """Bring values to the type of a weight, bfloat16 by stochastic rounding."""
    return round_to_bfloat16(x, rng) if dtype == torch.bfloat16 else x.to(dtype)


def add_product_(weight: Tensor, a: Tensor, b: Tensor, *, keep: float, add: float, rng: torch.Generator) -> None:
    """``weight = keep * weight + add * (a @ b)`` in place, [m, n] from [m, r] and [r, n]."""
    if weight.dtype == a.dtype == b.dtype and weight.dtype.itemsize >= 4:
        weight.addmm_(a, b, beta=keep, alpha=add)
        return
    rows = max(1, _BLOCK // weight.shape[1])
    b = b.float()
    for part, factor in zip(torch.split(weight, rows), torch.split(a, rows), strict=True):
        part.copy_(rounded(part.float().addmm_(factor.float(), b, beta=keep, alpha=add), weight.dtype, rng))
