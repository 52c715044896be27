"""Moments in 8 bits against those of bitsandbytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from scfm_scverse.training import GaLoreAdamW, moments
from scfm_scverse.training.moments import code_book, dequantize, quantize


@pytest.fixture(scope="module")
def stored(galore: Path) -> dict[str, Tensor]:
    return {name: torch.tensor(array) for name, array in np.load(galore / "adam8bit_blockwise.npz").items()}


def close_codes(found: Tensor, expected: Tensor, lowest: int = -1) -> None:
    off = (found.int() - expected.int()).abs()
    assert int(off[expected.int() > lowest].max()) <= 1
    assert float((off == 0).float().mean()) >= 0.97


@pytest.mark.parametrize("signed", [True, False])
def test_code_books_are_those_of_the_library(stored: dict[str, Tensor], signed: bool) -> None:
    expected = stored["map_signed" if signed else "map_unsigned"]
    torch.testing.assert_close(code_book(signed=signed), expected, rtol=1e-6, atol=1e-9)


def test_numbers_get_the_codes_of_the_library(stored: dict[str, Tensor]) -> None:
    codes, scale = quantize(stored["q_x"], signed=True)
    close_codes(codes, stored["q_codes"])
    torch.testing.assert_close(scale, stored["q_absmax"], rtol=1e-5, atol=0)
    found = dequantize(stored["q_codes"], stored["q_absmax"], signed=True)
    torch.testing.assert_close(found, stored["q_deq"], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("decay", ["0", "0.1"])
def test_steps_are_those_of_the_library(stored: dict[str, Tensor], decay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scfm_scverse.training.adamw.SMALLEST", 0)
    run = {name: stored[f"wd{decay}__{name}"] for name in ("params", "state1", "state2", "absmax1", "absmax2")}
    for step, grad in enumerate(stored["grads"]):
        param = nn.Parameter((run["params"][step - 1] if step else stored["p0"]).clone())
        optimizer = GaLoreAdamW([param], lr=0.01, weight_decay=float(decay), moments="8bit")
        if step:
            before = {f"exp_avg{name}": run[f"state{i}"][step - 1] for i, name in ((1, ""), (2, "_sq"))}
            before |= {f"exp_avg{name}_scale": run[f"absmax{i}"][step - 1] for i, name in ((1, ""), (2, "_sq"))}
            optimizer.state[param].update({"step": torch.tensor(float(step)), **before})
        param.grad = grad
        optimizer.step()
        torch.testing.assert_close(param.detach(), run["params"][step], rtol=0, atol=1e-7)
        state = optimizer.state[param]
        # Of second moments below 4e-5 of the largest of their block, the library uses the codes 7, 10 and 12 only.
        for i, name, lowest in ((1, "exp_avg", -1), (2, "exp_avg_sq", 12)):
            close_codes(state[name], run[f"state{i}"][step], lowest)
            torch.testing.assert_close(state[f"{name}_scale"], run[f"absmax{i}"][step], rtol=1e-5, atol=0)


@settings(max_examples=40)
@given(n=st.integers(1, 1000), seed=st.integers(0, 99), signed=st.booleans(), size=st.sampled_from([1e-30, 1.0, 1e20]))
def test_looked_up_codes_are_the_nearest(n: int, seed: int, signed: bool, size: float) -> None:
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, generator=rng) * 10 ** (-6 * torch.rand(n, generator=rng)) * size
    x = x if signed else x.abs()
    codes, scale = quantize(x, signed=signed)
    assert codes.dtype == torch.uint8
    ratio = (x / scale.repeat_interleave(moments.BLOCK)[:n]).double()
    book = code_book(signed=signed).double()
    nearest = (ratio[:, None] - book).abs().amin(1)
    found = (ratio - book[codes.int()]).abs()
    if not signed:
        nearest = nearest.clamp(min=3.25e-7)
    # A number within 2^-13 of the middle of two codes may get either.
    assert bool((found <= nearest + 2e-4 * ratio.abs() + 1e-12).all())


def test_block_of_zeros_stays_zero() -> None:
    codes, scale = quantize(torch.zeros(300), signed=True)
    assert torch.equal(dequantize(codes, scale, signed=True), torch.zeros(300))


def test_second_moment_is_never_rounded_to_zero_beside_a_larger_one() -> None:
    codes, scale = quantize(torch.tensor([1.0, 1e-12, 0.0]), signed=False)
    assert bool((dequantize(codes, scale, signed=False) > 0).all())


@pytest.mark.parametrize("group", [{}, {"rank": 16}], ids=["whole", "low rank"])
def test_steps_in_8_bits_stay_near_those_in_float32(group: dict[str, int]) -> None:
    weights = []
    for kept in ("float32", "8bit"):
        param = nn.Parameter(torch.zeros(300, 64))
        optimizer = GaLoreAdamW([{"params": [param], **group}], lr=0.01, weight_decay=0, moments=kept)
        rng = torch.Generator().manual_seed(0)
        mean = torch.randn(300, 64, generator=rng)
        for _ in range(30):
            param.grad = mean + 0.5 * torch.randn(300, 64, generator=rng)
            optimizer.step()
        weights.append(param.detach())
        state = optimizer.state[param]
        assert state["exp_avg"].dtype == state["exp_avg_sq"].dtype == (torch.uint8 if kept == "8bit" else torch.float32)
    assert float((weights[1] - weights[0]).norm() / weights[0].norm()) < 0.05
