"""What is kept between steps: its size, its types, and that a run continues from it exactly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from scfm_scverse.training import GaLoreAdamW, galore_param_groups
from support import run_python


def state_bytes(optimizer: torch.optim.Optimizer, *params: Tensor) -> int:
    """Bytes of the storages behind the state, all of them if a tensor is a view."""
    return sum(
        value.untyped_storage().nbytes()
        for param in params
        for name, value in optimizer.state[param].items()
        if name != "step"
    )


@pytest.mark.parametrize("in_backward", [None, "project", "update"])
@pytest.mark.parametrize("compat", [None, "released"])
@pytest.mark.parametrize(("m", "n"), [(96, 96), (288, 96), (96, 288)])
def test_state_is_as_small_as_the_formula_says(m: int, n: int, compat: Any, in_backward: Any) -> None:
    param = nn.Parameter(torch.zeros(m, n))
    optimizer = GaLoreAdamW([{"params": [param], "rank": 24}], compat=compat, in_backward=in_backward)
    param.backward(torch.randn(m, n, generator=torch.Generator().manual_seed(0)))
    optimizer.step()
    assert state_bytes(optimizer, param) == (2 * max(m, n) + min(m, n)) * 24 * 4


def test_state_in_8_bits_is_as_small_as_the_formula_says() -> None:
    param, table = nn.Parameter(torch.zeros(1536, 512)), nn.Parameter(torch.zeros(5000, 64))
    groups = [{"params": [param], "rank": 128}, {"params": [table], "rowwise": True}]
    optimizer = GaLoreAdamW(groups, moments="8bit")
    for one in (param, table):
        one.grad = torch.randn(one.shape, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert state_bytes(optimizer, param) == 2 * 1536 * 128 * (1 + 4 / 256) + 512 * 128 * 4
    assert state_bytes(optimizer, table) == 5000 * 8


class Sizes(TorchDispatchMode):
    """Bytes of every tensor that is made."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.known, self.made = known, list[int]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        new = [
            one
            for one in (out if isinstance(out, (tuple, list)) else [out])
            if isinstance(one, Tensor) and not one.is_sparse
        ]
        self.made += [
            storage.nbytes()
            for storage in (one.untyped_storage() for one in new)
            if storage.data_ptr() not in self.known
        ]
        return out


@pytest.mark.parametrize("moments", ["float32", "8bit"])
def test_step_makes_no_tensor_of_the_size_of_a_weight(moments: Any) -> None:
    params = [nn.Parameter(torch.zeros(600, 400)), nn.Parameter(torch.zeros(400, 600)), nn.Parameter(torch.zeros(9000))]
    table = nn.Parameter(torch.zeros(4000, 60))
    groups = [{"params": params, "rank": 16}, {"params": [table], "rowwise": True}]
    optimizer = GaLoreAdamW(groups, moments=moments)
    for param in params:
        param.grad = torch.ones_like(param)
    table.grad = torch.sparse_coo_tensor([[5, 8]], torch.ones(2, 60), table.shape, check_invariants=True)
    optimizer.step()
    known = {one.untyped_storage().data_ptr() for param in params for one in (param, param.grad)}
    with Sizes(known | {table.untyped_storage().data_ptr()}) as sizes:
        optimizer.step()
    assert 0 < max(sizes.made) <= 600 * 16 * 4


OPTIONS = [
    {},
    {"compat": "released"},
    {"moments": "8bit"},
    {"in_backward": "project"},
    {"in_backward": "update", "moments": "8bit"},
]


def network_of(dtype: torch.dtype, *, rows: bool) -> nn.Module:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Embedding(2000, 64), nn.Linear(64, 128), nn.Tanh(), nn.Linear(128, 64), nn.LayerNorm(64))
    return (layers if rows else layers[1:]).to(dtype)


def optimizer_of(network: nn.Module, options: dict[str, Any], lr: float = 1e-2) -> GaLoreAdamW:
    return GaLoreAdamW(galore_param_groups(network, rank=16, update_proj_gap=4), lr, **options)


def train(network: nn.Module, optimizer: GaLoreAdamW, steps: range) -> None:
    first = next(network.parameters())
    for step in steps:
        rng = torch.Generator().manual_seed(step)
        genes = torch.randint(0, 2000, (32,), generator=rng)
        x = genes if len(first) == 2000 else torch.randn(32, 64, generator=rng).to(first.dtype)
        optimizer.zero_grad()
        network(x).float().square().mul(torch.linspace(-1, 1, 64)).sum().backward()
        optimizer.step()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("stop", [3, 6])
def test_run_continues_exactly_from_tensors_alone(
    tmp_path: Path, options: dict[str, Any], dtype: torch.dtype, stop: int
) -> None:
    rows = "compat" not in options
    whole = network_of(dtype, rows=rows)
    optimizer = optimizer_of(whole, options)
    train(whole, optimizer, range(stop))
    torch.save({"network": whole.state_dict(), "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
    train(whole, optimizer, range(stop, 10))

    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    again = network_of(dtype, rows=rows)
    again.load_state_dict(saved["network"])
    continued = optimizer_of(again, options, lr=1)
    continued.load_state_dict(saved["optimizer"])
    train(again, continued, range(stop, 10))
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
        mine, expected = continued.state[ours], optimizer.state[theirs]
        assert mine.keys() == expected.keys()
        for name, value in expected.items():
            assert mine[name].dtype == value.dtype
            assert torch.equal(mine[name], value)


KILLED = """
import os, signal, torch
from training.test_state import network_of, optimizer_of, train
torch.set_num_threads(1)
network = network_of(torch.bfloat16, rows=True)
optimizer = optimizer_of(network, {{"in_backward": "project"}})
for step in range(10):
    train(network, optimizer, range(step, step + 1))
    if step == 5:
        torch.save({{"network": network.state_dict(), "optimizer": optimizer.state_dict()}}, {path!r})
    if step == 7:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_run_that_was_killed_continues_exactly(tmp_path: Path) -> None:
    with pytest.raises(AssertionError):
        run_python(KILLED.format(path=str(tmp_path / "run.pt")))
    saved = torch.load(tmp_path / "run.pt", weights_only=True)
    whole, again = (network_of(torch.bfloat16, rows=True) for _ in range(2))
    train(whole, optimizer_of(whole, {"in_backward": "project"}), range(10))
    again.load_state_dict(saved["network"])
    optimizer = optimizer_of(again, {"in_backward": "project"})
    optimizer.load_state_dict(saved["optimizer"])
    train(again, optimizer, range(6, 10))
    for ours, theirs in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_loaded_state_is_a_copy() -> None:
    network = network_of(torch.float32, rows=True)
    one, other = (optimizer_of(network, {}) for _ in range(2))
    train(network, one, range(2))
    other.load_state_dict(one.state_dict())
    for param in network.parameters():
        for name, value in one.state[param].items():
            assert value.data_ptr() != other.state[param][name].data_ptr()
