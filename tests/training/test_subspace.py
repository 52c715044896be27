"""Block power iteration against the exact singular vectors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scfm_scverse.training.subspace import leading_columns, power_bases


def spectrum(a: int, s: int, values: Tensor, seed: int = 0) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    u = torch.linalg.qr(torch.randn(a, len(values), generator=rng)).Q
    v = torch.linalg.qr(torch.randn(s, len(values), generator=rng)).Q
    return (u * values) @ v.T


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def energy(matrix: Tensor, columns: Tensor) -> float:
    """Share of what the exact vectors hold."""
    exact = torch.linalg.svdvals(matrix.double())[: columns.shape[1]].square().sum()
    return float((matrix.double() @ columns.double()).square().sum() / exact)


@settings(max_examples=20)
@given(a=st.integers(2, 60), s=st.integers(2, 60), seed=st.integers(0, 99))
def test_single_vectors_are_found_where_singular_values_differ(a: int, s: int, seed: int) -> None:
    matrix = spectrum(a, s, 0.5 ** torch.arange(min(a, s)), seed)
    rank = min(4, a, s)
    found = leading_columns(matrix, None, rank, rng())
    exact = torch.linalg.svd(matrix.double()).Vh[:rank].T.float()
    torch.testing.assert_close((found * exact).sum(0).abs(), torch.ones(rank), rtol=0, atol=1e-4)
    torch.testing.assert_close(found.T @ found, torch.eye(rank), rtol=0, atol=1e-5)


@pytest.mark.parametrize(("decay", "cold", "warm"), [(0.3, 0.95, 0.94), (0.5, 0.97, 0.96), (1.0, 0.99, 0.97)])
def test_subspace_holds_nearly_what_the_exact_one_holds(decay: float, cold: float, warm: float) -> None:
    values = torch.arange(1, 257.0) ** -decay
    before = spectrum(256, 256, values)
    noise = spectrum(256, 256, values, seed=5)
    now = before + 0.4 * noise
    first = leading_columns(before, None, 64, rng())
    assert cold < energy(before, first) <= 1 + 1e-6
    second = leading_columns(now, first, 64, rng())
    assert max(warm, energy(now, first)) < energy(now, second) <= 1 + 1e-6


def test_signs_follow_the_basis_before() -> None:
    matrix = spectrum(30, 20, 0.5 ** torch.arange(20))
    before = leading_columns(matrix, None, 5, rng())
    flipped = before * torch.tensor([1, -1, 1, -1, -1])
    torch.testing.assert_close(leading_columns(matrix, flipped, 5, rng()), flipped, rtol=0, atol=1e-4)


@pytest.mark.parametrize("size", [1e-15, 1e15])
def test_size_of_a_gradient_does_not_matter(size: float) -> None:
    matrix = spectrum(30, 20, 0.5 ** torch.arange(20))
    expected = leading_columns(matrix, None, 5, rng())
    torch.testing.assert_close(leading_columns(matrix * size, None, 5, rng()), expected, rtol=0, atol=1e-4)


def test_gradient_of_few_directions_gives_an_orthonormal_basis() -> None:
    found = leading_columns(spectrum(30, 20, torch.tensor([1.0, 0.5])), None, 8, rng())
    torch.testing.assert_close(found.T @ found, torch.eye(8), rtol=0, atol=1e-5)


def test_both_sides_are_found_in_the_type_of_the_gradient() -> None:
    matrix = spectrum(30, 20, 0.5 ** torch.arange(20)).bfloat16()
    found = power_bases(matrix, {}, 4, ("left", "right"), rng())
    assert {side: (tuple(basis.shape), basis.dtype) for side, basis in found.items()} == {
        "left": ((30, 4), torch.bfloat16),
        "right": ((4, 20), torch.bfloat16),
    }
    u, _, vt = torch.linalg.svd(matrix.float())
    torch.testing.assert_close((found["left"].float() * u[:, :4]).sum(0).abs(), torch.ones(4), rtol=0, atol=0.02)
    torch.testing.assert_close((found["right"].float() * vt[:4]).sum(1).abs(), torch.ones(4), rtol=0, atol=0.02)
