"""Every step as the released optimizer takes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scfm_scverse.training import GaLoreAdamW

# Those of the stored files, with two roundings of float32 where second moments are large (0.09 in one run).
ROUNDING = 2e-7
TOLERANCES = {"params": 2e-5, "exp_avg": 1e-6, "exp_avg_sq": 1e-8}

Runs = list[dict[str, Any]]


class StoredBases(GaLoreAdamW):
    """Takes the bases of a run instead of choosing its own, whose signs may differ."""

    bases: Iterator[dict[str, Tensor]]

    def refresh(self, param: Tensor, grad: Tensor) -> None:
        self.state[param].update(next(self.bases))


def stored_bases(run: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
    """Bases in the order of the refreshes; which side one is on follows from its shape and the kind."""
    if run["proj"] == "full":
        for left, right in zip(run["projector_left"], run["projector_right"], strict=True):
            yield {"left": torch.tensor(left), "right": torch.tensor(right)}
    else:
        rows = run["params"].shape[1]
        right = {"std": rows >= run["params"].shape[2], "reverse_std": rows < run["params"].shape[2]}
        side = "right" if right.get(run["proj"], run["proj"] == "right") else "left"
        for basis in run["projector"]:
            yield {side: torch.tensor(basis)}


def group_of(run: dict[str, Any], param: Tensor) -> dict[str, Any]:
    group: dict[str, Any] = {"params": [param]}
    if "rank" in run:
        group |= {"update_proj_gap": run["gap"], "scale": run["scale"], "proj_type": run["proj"], "rank": run["rank"]}
    return group


def settings_of(run: dict[str, Any]) -> dict[str, Any]:
    chosen = {name: run[name] for name in ("lr", "eps", "weight_decay", "correct_bias") if name in run}
    return chosen | {"betas": tuple(run["betas"])}


def follow(run: dict[str, Any], inputs: dict[str, np.ndarray]) -> Iterator[tuple[int, Tensor, dict[str, Any]]]:
    """Step, parameter and state after each step of a run."""
    dtype = getattr(torch, run["dtype"])
    param = nn.Parameter(torch.tensor(inputs[f"p0_{run['shape']}"]).to(dtype))
    kind = GaLoreAdamW if run["canonical_sign"] or "rank" not in run else StoredBases
    optimizer = kind([group_of(run, param)], compat="released", **settings_of(run))
    if isinstance(optimizer, StoredBases):
        optimizer.bases = stored_bases(run)
    for step, grad in enumerate(inputs[f"grads_{run['shape']}"]):
        if run["lr_schedule"]:
            optimizer.param_groups[0]["lr"] = float(inputs["lr_schedule"][step])
        param.grad = torch.tensor(grad).to(dtype)
        optimizer.step()
        yield step, param.detach().float(), optimizer.state[param]


def test_float32_trajectories_are_those_of_the_release(runs: Runs, inputs: dict[str, np.ndarray]) -> None:
    chosen = [run for run in runs if run["optimizer"] == "galore_adamw" and run["dtype"] == "float32"]
    assert len(chosen) == 65
    for run in chosen:
        for step, param, state in follow(run, inputs):
            found = {"params": param, "exp_avg": state["exp_avg"], "exp_avg_sq": state["exp_avg_sq"]}
            for name, atol in TOLERANCES.items():
                message = f"{run['file']} {run['name']} {name} step {step}"
                rtol = ROUNDING if name == "exp_avg_sq" else 0
                np.testing.assert_allclose(found[name], run[name][step], rtol=rtol, atol=atol, err_msg=message)


def test_bases_are_those_of_the_release(runs: Runs, inputs: dict[str, np.ndarray]) -> None:
    chosen = [run for run in runs if run["file"] == "galore_adamw_canonical.npz"]
    assert len(chosen) == 30
    for run in chosen:
        expected = list(stored_bases(run))
        for step, _, state in follow(run, inputs):
            for side, basis in expected[step // run["gap"]].items():
                torch.testing.assert_close(state[side], basis, rtol=0, atol=1e-5)


def test_bfloat16_trajectories_are_those_of_the_release(runs: Runs, inputs: dict[str, np.ndarray]) -> None:
    chosen = [run for run in runs if run["dtype"] == "bfloat16"]
    assert len(chosen) == 2
    for run in chosen:
        for step, param, state in follow(run, inputs):
            assert state["exp_avg"].dtype == torch.bfloat16
            np.testing.assert_allclose(param, run["params"][step], rtol=0, atol=2e-2)


class Small(nn.Module):
    """The network of the stored runs."""

    def __init__(self) -> None:
        super().__init__()
        self.emb, self.norm = nn.Embedding(40, 16), nn.LayerNorm(16)
        self.fc1, self.fc2, self.out = nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 8)

    def forward(self, idx: Tensor) -> Tensor:
        h = self.norm(self.emb(idx).mean(1))
        return self.out(h + self.fc2(torch.relu(self.fc1(h))))


@pytest.mark.parametrize(
    ("name", "low", "eps", "compat"),
    [
        ("torch_adamw", (), 1e-8, None),
        ("galore", ("fc1.weight", "fc2.weight"), 1e-6, "released"),
        ("galore_emb", ("fc1.weight", "fc2.weight", "emb.weight"), 1e-6, "released"),
    ],
)
def test_network_trains_as_stored(galore: Path, name: str, low: tuple[str, ...], eps: float, compat: Any) -> None:
    stored = np.load(galore / "module_run.npz")
    network = Small()
    params = dict(network.named_parameters())
    network.load_state_dict({key: torch.tensor(stored[f"init__{key}"]) for key in params})
    groups: list[dict[str, Any]] = [{"params": [param for key, param in params.items() if key not in low]}]
    if low:
        groups.append({"params": [params[key] for key in low], "rank": 4, "update_proj_gap": 6, "scale": 0.25})
    optimizer = GaLoreAdamW(groups, lr=0.02, eps=eps, weight_decay=0.01, compat=compat)
    idx, labels = torch.tensor(stored["idx"]), torch.tensor(stored["labels"])
    for step in range(20):
        loss = nn.functional.cross_entropy(network(idx[step % 4]), labels[step % 4])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        np.testing.assert_allclose(loss.item(), stored[f"{name}__loss"][step], rtol=1e-3)
        if f"{name}__step{step + 1}__out.bias" in stored:
            atol = 1e-5 if step == 0 else 1e-3
            for key, param in params.items():
                expected = stored[f"{name}__step{step + 1}__{key}"]
                np.testing.assert_allclose(param.detach(), expected, rtol=0, atol=atol, err_msg=f"{key} step {step}")
