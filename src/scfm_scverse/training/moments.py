"""Moments of Adam in 8 bits: blocks of 256 numbers with one scale each, on any device."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor

BLOCK = 256

# Tensors of fewer elements stay in float32: there is nothing to gain.
SMALLEST = 4096

_DECADES = 7

# Codes are looked up by the leading bits of a float32: sign apart, 24 powers of two and 13 bits within each.
_DROPPED = 10
_LOWEST = (127 - 24) << 13
_HIGHEST = 127 << 13


@cache
def code_book(*, signed: bool, device: torch.device | None = None) -> Tensor:
    """Values of the 256 codes in ascending order, dense near zero (Dettmers et al. 2022, dynamic map)."""
    values = [0.0, 1.0]
    for decade in range(_DECADES):
        edges = torch.linspace(0.1, 1, 2 ** (decade + (not signed)) + 1, dtype=torch.float64)
        middles = (edges[1:] + edges[:-1]) / 2 * 10.0 ** (decade - _DECADES + 1)
        values += [*middles.tolist(), *((-middles).tolist() if signed else [])]
    return torch.tensor(sorted(values), dtype=torch.float32, device=device)


@cache
def _nearest_codes(*, signed: bool, device: torch.device) -> Tensor:
    """Code of each magnitude by its leading bits; with a sign, those of negative numbers follow.

    Without a sign none is zero: a second moment of zero would make a step of any size of a first moment that is not.
    """
    bits = torch.arange(_LOWEST, _HIGHEST + 1, dtype=torch.int32)
    middle = ((bits << _DROPPED) + (1 << (_DROPPED - 1))).view(torch.float32).clamp(max=1)
    book = code_book(signed=signed)
    codes = torch.bucketize(torch.cat([middle, -middle]) if signed else middle, (book[1:] + book[:-1]) / 2)
    return codes.clamp(min=0 if signed else 1).to(device, torch.uint8)


def quantize(x: Tensor, *, signed: bool) -> tuple[Tensor, Tensor]:
    """Codes of numbers, uint8 of the same shape, and the largest magnitude of each block of 256."""
    flat = x.reshape(-1)
    whole = len(flat) // BLOCK * BLOCK
    blocks = flat[:whole].view(-1, BLOCK)
    scale = blocks.abs().amax(1)
    if whole < len(flat):
        scale = torch.cat([scale, flat[whole:].abs().amax().view(1)])
    magnitude = _over_blocks(flat.abs(), scale.where(scale > 0, 1).reciprocal())
    index = (magnitude.view(torch.int32) >> _DROPPED).clamp_(_LOWEST, _HIGHEST).sub_(_LOWEST)
    if signed:
        index += (flat.view(torch.int32) >> 31).bitwise_and_(_HIGHEST - _LOWEST + 1)
    return _nearest_codes(signed=signed, device=x.device).index_select(0, index).view(x.shape), scale


def dequantize(codes: Tensor, scale: Tensor, *, signed: bool) -> Tensor:
    """Numbers that codes stand for, float32."""
    values = code_book(signed=signed, device=codes.device).index_select(0, codes.reshape(-1).int())
    return _over_blocks(values, scale).view(codes.shape)


def _over_blocks(flat: Tensor, factor: Tensor) -> Tensor:
    """Multiply each block of a vector by its own factor, in place."""
    whole = len(flat) // BLOCK * BLOCK
    flat[:whole].view(-1, BLOCK).mul_(factor[: whole // BLOCK, None])
    flat[whole:].mul_(factor[whole // BLOCK :])
    return flat


def is_compact(state: dict[str, Any]) -> bool:
    """Whether the moments of a state are in 8 bits."""
    return "exp_avg_scale" in state


def read_moment(state: dict[str, Any], name: str) -> Tensor:
    """Moment of a state as numbers; itself where it is not in 8 bits."""
    stored: Tensor = state[name]
    return dequantize(stored, state[f"{name}_scale"], signed=name == "exp_avg") if is_compact(state) else stored


def write_moment(state: dict[str, Any], name: str, value: Tensor, *, signed: bool, compact: bool) -> None:
    """Keep a moment, in 8 bits if asked."""
    if compact:
        state[name], state[f"{name}_scale"] = quantize(value, signed=signed)
    else:
        state[name] = value
