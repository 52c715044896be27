"""The default mode: its steps, its refreshes, what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from naive.galore import naive_low_rank_step
from scfm_scverse._errors import InputError
from scfm_scverse.training import GaLoreAdamW
from scfm_scverse.training.projection import PROJ_TYPES


def gradients(n: int, *shape: int, seed: int = 0) -> list[Tensor]:
    """Gradients whose singular values fall by half, in directions that stay nearly the same."""
    rng = torch.Generator().manual_seed(seed)
    k = min(shape)
    u = torch.linalg.qr(torch.randn(shape[0], k, generator=rng)).Q
    v = torch.linalg.qr(torch.randn(shape[1], k, generator=rng)).Q
    falling = 0.5 ** torch.arange(k)
    return [
        (u * falling * (1 + torch.rand(k, generator=rng))) @ v.T + 1e-4 * torch.randn(*shape, generator=rng)
        for _ in range(n)
    ]


def step_with(optimizer: GaLoreAdamW, param: nn.Parameter, grad: Tensor) -> None:
    param.grad = grad.clone()
    optimizer.step()


def group(*params: nn.Parameter, rank: int = 4, **more: Any) -> list[dict[str, Any]]:
    return [{"params": list(params), "rank": rank, **more}]


def test_parameters_without_a_rank_follow_the_stored_adamw(
    runs: list[dict[str, Any]], inputs: dict[str, np.ndarray]
) -> None:
    chosen = [run for run in runs if run["optimizer"] == "torch_adamw"]
    assert len(chosen) == 10
    for run in chosen:
        param = nn.Parameter(torch.tensor(inputs[f"p0_{run['shape']}"]))
        optimizer = GaLoreAdamW([param], run["lr"], eps=run["eps"], weight_decay=run["weight_decay"])
        for step, grad in enumerate(inputs[f"grads_{run['shape']}"]):
            step_with(optimizer, param, torch.tensor(grad))
            np.testing.assert_allclose(param.detach(), run["params"][step], rtol=0, atol=2e-5)


def test_defaults_of_what_has_no_rank_are_those_of_torch() -> None:
    ours, theirs = (nn.Parameter(torch.linspace(-1, 1, 12)) for _ in range(2))
    ours_opt, theirs_opt = GaLoreAdamW([ours]), torch.optim.AdamW([theirs])
    for step in range(5):
        theirs.grad = torch.sin(torch.arange(12.0) * step + 1e-6)
        step_with(ours_opt, ours, theirs.grad)
        theirs_opt.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@settings(max_examples=25)
@given(
    m=st.integers(2, 12),
    n=st.integers(2, 12),
    rank=st.integers(1, 12),
    proj_type=st.sampled_from(PROJ_TYPES),
    decay=st.sampled_from([0.0, 0.1]),
)
def test_steps_are_those_of_the_formula(m: int, n: int, rank: int, proj_type: str, decay: float) -> None:
    param = nn.Parameter(torch.linspace(-1, 1, m * n).view(m, n))
    groups = group(param, rank=rank, update_proj_gap=3, scale=0.5, proj_type=proj_type)
    optimizer = GaLoreAdamW(groups, lr=0.01, weight_decay=decay, eps=1e-3)
    expected, kept = param.detach().double().numpy(), dict[str, np.ndarray]()
    for grad in gradients(5, m, n):
        step_with(optimizer, param, grad)
        state = optimizer.state[param]
        left = state["left"].double().numpy() if "left" in state else np.eye(m)
        right = state["right"].double().numpy() if "right" in state else np.eye(n)
        numbers = {"lr": 0.01, "beta1": 0.9, "beta2": 0.999, "eps": 1e-3, "decay": decay, "scale": 0.5}
        expected = naive_low_rank_step(expected, grad.double().numpy(), left, right, kept, **numbers)
        np.testing.assert_allclose(param.detach(), expected, rtol=0, atol=2e-5)


def test_parameters_with_more_axes_are_matrices() -> None:
    flat, deep = nn.Parameter(torch.ones(6, 12)), nn.Parameter(torch.ones(6, 4, 3))
    for grad in gradients(3, 6, 12):
        for param in (flat, deep):
            step_with(GaLoreAdamW(group(param, rank=2)), param, grad.view(param.shape))
    torch.testing.assert_close(flat, deep.view(6, 12), rtol=0, atol=0)


def test_vectors_in_a_group_with_a_rank_are_trained_by_adamw() -> None:
    ours, theirs = (nn.Parameter(torch.ones(5)) for _ in range(2))
    step_with(GaLoreAdamW(group(ours)), ours, torch.arange(5.0))
    theirs.grad = torch.arange(5.0)
    torch.optim.AdamW([theirs]).step()
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-7)


class Counting(GaLoreAdamW):
    """Remembers which parameters were given a basis."""

    refreshed: list[nn.Parameter]

    def refresh(self, param: Tensor, grad: Tensor) -> None:
        self.refreshed.append(param)  # type: ignore[arg-type]
        super().refresh(param, grad)


@pytest.mark.parametrize(("compat", "most"), [(None, 1), ("released", 4)])
def test_each_matrix_is_refreshed_once_a_gap(compat: Any, most: int) -> None:
    params = [nn.Parameter(torch.ones(8, 8)) for _ in range(4)]
    optimizer = Counting(group(*params, update_proj_gap=8), compat=compat)
    at_once = []
    for step in range(24):
        optimizer.refreshed = []
        for param, grad in zip(params, gradients(4, 8, 8, seed=step), strict=True):
            param.grad = grad
        optimizer.step()
        at_once.append(len(optimizer.refreshed))
    assert at_once[0] == 4
    assert sum(at_once[1:]) == 4 * 3 - (4 if compat else 1)
    assert max(at_once[1:]) == most


@pytest.mark.parametrize("compat", [None, "released"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_gradient_that_is_not_finite_leaves_the_basis_and_is_counted(compat: Any, bad: float) -> None:
    param = nn.Parameter(torch.ones(8, 6))
    optimizer = GaLoreAdamW(group(param, update_proj_gap=1), compat=compat)
    good = gradients(2, 8, 6)
    broken = good[0].clone()
    broken[3, 2] = bad
    step_with(optimizer, param, broken)
    assert torch.equal(param, torch.ones(8, 6))
    step_with(optimizer, param, good[0])
    basis = optimizer.state[param]["right"].clone()
    step_with(optimizer, param, broken)
    assert torch.equal(optimizer.state[param]["right"], basis)
    assert optimizer.state[param]["skipped"] == 2


def test_matrix_whose_gradient_is_zero_waits_for_one_that_is_not() -> None:
    param = nn.Parameter(torch.ones(8, 6))
    optimizer = GaLoreAdamW(group(param))
    step_with(optimizer, param, torch.zeros(8, 6))
    assert torch.equal(param, torch.ones(8, 6))
    step_with(optimizer, param, gradients(1, 8, 6)[0])
    assert not torch.equal(param, torch.ones(8, 6))
    assert optimizer.state[param].get("skipped") is None


def test_closure_is_called_with_gradients_enabled() -> None:
    param = nn.Parameter(torch.ones(4, 4))
    optimizer = GaLoreAdamW([param])

    def closure() -> float:
        optimizer.zero_grad()
        loss = param.square().sum()
        loss.backward()
        return loss.item()

    assert optimizer.step(closure) == 16
    assert optimizer.step(closure) < 16


@pytest.mark.parametrize(
    ("groups", "options", "word"),
    [
        ({"rank": 0}, {}, "rank is 0"),
        ({"rank": 4, "update_proj_gap": 0.5}, {}, "update_proj_gap is 0.5"),
        ({"rank": 4, "proj_type": "both"}, {}, "proj_type is 'both'"),
        ({"rowwise": True}, {"compat": "released"}, "rowwise"),
        ({"rowwise": True, "rank": 2}, {}, "rowwise"),
        ({}, {"correct_bias": False}, "correct_bias"),
        ({}, {"compat": "released", "moments": "8bit"}, "moments"),
    ],
)
def test_what_cannot_be_is_refused(groups: dict[str, Any], options: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        GaLoreAdamW([{"params": [nn.Parameter(torch.ones(4, 4))], **groups}], **options)


def test_several_processes_cannot_use_gradients_in_the_backward_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    param = nn.Parameter(torch.ones(4, 4))
    GaLoreAdamW([param])
    with pytest.raises(InputError, match="other processes"):
        GaLoreAdamW([param], in_backward="project")


def test_bases_of_several_processes_are_those_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    param, of_first = nn.Parameter(torch.ones(8, 6)), torch.eye(6)[:4]
    monkeypatch.setattr("scfm_scverse.training.galore.place_of_process", lambda: (1, 2))

    def receive(basis: Tensor, sender: int) -> None:
        assert sender == 0
        basis.copy_(of_first)

    monkeypatch.setattr(torch.distributed, "broadcast", receive)
    optimizer = GaLoreAdamW(group(param))
    step_with(optimizer, param, gradients(1, 8, 6)[0])
    assert torch.equal(optimizer.state[param]["right"], of_first)
