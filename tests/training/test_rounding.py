"""Weights in bfloat16 do not lose what is added to them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from scfm_scverse.training import GaLoreAdamW
from scfm_scverse.training.projection import PROJ_TYPES
from scfm_scverse.training.rounding import add_product_, round_to_bfloat16


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rounding_is_right_on_average_and_takes_a_neighbour() -> None:
    values = torch.tensor([1.001, -1.001, 3e-5, 0.0, 100.3])
    found = round_to_bfloat16(values.repeat(20_000, 1), rng()).float()
    torch.testing.assert_close(found.mean(0), values, rtol=2e-4, atol=0)
    assert bool(((found - values).abs() <= values.abs() / 128).all())
    assert [len(column.unique()) for column in found.T] == [2, 2, 2, 1, 2]


def test_what_bfloat16_can_hold_is_not_changed() -> None:
    values = torch.randn(1000, generator=rng()).bfloat16()
    assert torch.equal(round_to_bfloat16(values.float(), rng()), values)


def test_infinity_stays() -> None:
    values = torch.tensor([float("inf"), -float("inf")])
    assert torch.equal(round_to_bfloat16(values, rng()).float(), values)


def test_product_is_added_block_by_block() -> None:
    a, b = torch.randn(3000, 8, generator=rng()), torch.randn(8, 500, generator=rng(1))
    weight = torch.randn(3000, 500, generator=rng(2)).bfloat16()
    expected = 0.9 * weight.float() + 0.1 * a @ b
    add_product_(weight, a, b, keep=0.9, add=0.1, rng=rng())
    torch.testing.assert_close(weight.float(), expected, rtol=1 / 128, atol=1e-6)
    assert abs(float((weight.float() - expected).mean())) < 1e-4


@pytest.mark.parametrize("proj_type", PROJ_TYPES)
def test_steps_of_bfloat16_weights_are_near_those_of_float32(proj_type: str) -> None:
    weights = []
    for dtype in (torch.float32, torch.bfloat16):
        param = nn.Parameter(torch.zeros(40, 30, dtype=dtype))
        optimizer = GaLoreAdamW([{"params": [param], "rank": 1, "proj_type": proj_type}], lr=0.01, eps=1e-3)
        grad = torch.outer(torch.linspace(-1, 1, 40), torch.linspace(0, 1, 30))
        for _ in range(10):
            param.grad = grad.to(dtype)
            optimizer.step()
        state = optimizer.state[param]
        assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == torch.float32
        assert {state[side].dtype for side in ("left", "right") if side in state} == {dtype}
        weights.append(param.detach().float())
    assert float((weights[1] - weights[0]).norm() / weights[0].norm()) < 0.02


def test_many_small_steps_of_bfloat16_weights_add_up() -> None:
    matrix, vector, table = (nn.Parameter(torch.ones(64, 64, dtype=torch.bfloat16)) for _ in range(3))
    groups = [{"params": [matrix], "rank": 4, "scale": 1.0}, {"params": [vector]}, {"params": [table], "rowwise": True}]
    optimizer = GaLoreAdamW(groups, lr=1e-4, weight_decay=0)
    for _ in range(100):
        for param in (matrix, vector, table):
            param.grad = torch.ones_like(param)
        optimizer.step()
    # Each step is 1e-4 and half the spacing of bfloat16 below one is 2e-3. Of a matrix of ones, a step of the one
    # direction that there is moves every weight by 1/8 of that: both vectors are 1/8 everywhere.
    for param, moved in ((vector, 1e-2), (table, 1e-2), (matrix, 1e-2 / 8)):
        torch.testing.assert_close(param.float().mean(), torch.tensor(1 - moved), rtol=0, atol=3e-4)
