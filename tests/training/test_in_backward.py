"""Gradients that are used as soon as they are there train as those that are kept."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.nn.utils import clip_grad_norm_

from scfm_scverse._errors import InputError
from scfm_scverse.training import GaLoreAdamW, galore_param_groups


def network_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 48), nn.Tanh(), nn.Linear(48, 24), nn.LayerNorm(24), nn.Linear(24, 3))


def optimizer_of(network: nn.Module, in_backward: Any, **options: Any) -> GaLoreAdamW:
    groups = galore_param_groups(network, rank=6, update_proj_gap=3, scale=1.0)
    return GaLoreAdamW(groups, 0.01, eps=1e-4, in_backward=in_backward, **options)


def minibatch(step: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(step)
    return torch.randn(32, 24, generator=rng), torch.randn(32, 3, generator=rng)


def train(
    in_backward: Any, *, parts: int = 1, clip: float | None = None, **options: Any
) -> tuple[nn.Module, list[float]]:
    """Network after steps whose gradients come in parts, from the second one on; norms of the gradients."""
    network = network_of()
    optimizer = optimizer_of(network, in_backward, **options)
    norms = []
    for step in range(8):
        x, y = minibatch(step)
        n = parts if step else 1
        optimizer.zero_grad()
        for x_part, y_part in zip(x.chunk(n), y.chunk(n), strict=True):
            (mse_loss(network(x_part), y_part) / n).backward()
        if clip is not None and in_backward is None:
            norms.append(clip_grad_norm_(network.parameters(), clip).item())
        elif clip is not None:
            norms.append(optimizer.clip_grad_norm_(clip).item())
        optimizer.step()
    return network, norms


def assert_same(one: nn.Module, other: nn.Module, atol: float = 2e-6) -> None:
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.parametrize("compat", [None, "released"])
@pytest.mark.parametrize("in_backward", ["project", "update"])
def test_network_is_the_same(in_backward: Any, compat: Any) -> None:
    assert_same(train(in_backward, compat=compat)[0], train(None, compat=compat)[0])


def test_clipping_is_that_of_the_whole_gradients() -> None:
    ours, theirs = train("project", clip=0.05), train(None, clip=0.05)
    assert max(theirs[1]) > 0.1
    torch.testing.assert_close(torch.tensor(ours[1]), torch.tensor(theirs[1]), rtol=1e-4, atol=0)
    assert_same(ours[0], theirs[0])
    assert not torch.allclose(ours[0][0].weight, train(None)[0][0].weight)


@pytest.mark.parametrize("kind", [None, "project", "update"])
def test_network_in_float64_is_trained_in_float64(kind: Any) -> None:
    network = network_of().double()
    optimizer = optimizer_of(network, kind)
    x, y = (one.double() for one in minibatch(0))
    mse_loss(network(x), y).backward()
    if kind != "update":
        optimizer.clip_grad_norm_(0.1)
    optimizer.step()
    moments = [optimizer.state[param][name] for param in network.parameters() for name in ("exp_avg", "exp_avg_sq")]
    assert {one.dtype for one in moments} == {torch.float64}


@pytest.mark.parametrize("in_backward", [None, "project"])
def test_gradients_in_parts_are_those_of_one_minibatch(in_backward: Any) -> None:
    assert_same(train(in_backward, parts=2)[0], train(None)[0], atol=1e-5)
    assert_same(train(in_backward, parts=4)[0], train(None)[0], atol=1e-5)


def test_norm_of_gradients_in_parts_is_never_too_small() -> None:
    ours, theirs = (torch.tensor(train(kind, parts=4, clip=1e9)[1]) for kind in ("project", None))
    assert bool((ours >= theirs * (1 - 1e-4)).all())
    assert bool((ours < theirs * 1.5).all())


def test_no_gradient_of_low_rank_outlives_the_backward_pass_unless_a_refresh_is_due() -> None:
    network = network_of()
    optimizer = optimizer_of(network, "project")
    low = [param for param in network.parameters() if param.ndim == 2 and len(param) > 6]
    alive = []
    for step in range(7):
        x, y = minibatch(step)
        mse_loss(network(x), y).backward()
        alive.append([index for index, param in enumerate(low) if param.grad is not None])
        optimizer.step()
        optimizer.zero_grad()
    assert alive == [[], [1], [], [0], [1], [], [0]]


def test_updating_in_the_backward_pass_leaves_no_gradient() -> None:
    network = network_of()
    optimizer = optimizer_of(network, "update")
    before = [param.detach().clone() for param in network.parameters()]
    x, y = minibatch(0)
    mse_loss(network(x), y).backward()
    assert all(param.grad is None for param in network.parameters())
    assert not any(map(torch.equal, before, network.parameters()))
    after = [param.detach().clone() for param in network.parameters()]
    optimizer.step()
    assert all(map(torch.equal, after, network.parameters()))


def test_what_updating_in_the_backward_pass_cannot_do_is_refused() -> None:
    network = network_of()
    optimizer = optimizer_of(network, "update")
    x, y = minibatch(0)
    mse_loss(network(x), y).backward()
    with pytest.raises(InputError, match="project"):
        optimizer.clip_grad_norm_(1.0)
    with pytest.raises(InputError, match="second backward pass"):
        mse_loss(network(x), y).backward()


@pytest.mark.parametrize("in_backward", ["project", "update"])
def test_step_calls_a_closure(in_backward: Any) -> None:
    network = network_of()
    optimizer = optimizer_of(network, in_backward)

    def closure() -> float:
        x, y = minibatch(0)
        optimizer.zero_grad()
        loss = mse_loss(network(x), y)
        loss.backward()
        return loss.item()

    losses = [optimizer.step(closure) for _ in range(20)]
    assert losses[-1] < losses[0] / 2


def test_zero_grad_forgets_what_was_projected() -> None:
    kept, dropped = network_of(), network_of()
    for network, extra in ((kept, False), (dropped, True)):
        optimizer = optimizer_of(network, "project")
        for step in range(3):
            if extra and step:
                x, y = minibatch(99)
                mse_loss(network(x), y).backward()
                optimizer.zero_grad()
            x, y = minibatch(step)
            mse_loss(network(x), y).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert_same(kept, dropped, atol=0)


def test_gradients_are_kept_again_when_the_optimizer_is_gone() -> None:
    network = network_of()
    optimizer = optimizer_of(network, "project")
    del optimizer
    gc.collect()
    x, y = minibatch(0)
    mse_loss(network(x), y).backward()
    assert all(param.grad is not None for param in network.parameters())


def test_norm_without_any_gradient_is_zero() -> None:
    assert optimizer_of(network_of(), "project").clip_grad_norm_(1.0) == 0
