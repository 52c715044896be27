"""What the bases do not hold, against the stored runs of its authors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from scfm_scverse._errors import InputError
from scfm_scverse.training import GaLoreAdamW


def residual_group(param: nn.Parameter, **more: Any) -> list[dict[str, Any]]:
    return [{"params": [param], "rank": 4, "update_proj_gap": 5, "scale": 0.25, "residual": True, **more}]


def test_trajectories_are_those_of_the_authors(runs: list[dict[str, Any]], inputs: dict[str, np.ndarray]) -> None:
    chosen = [run for run in runs if run["optimizer"] == "fira"]
    assert len(chosen) == 3
    for run in chosen:
        param = nn.Parameter(torch.tensor(inputs[f"p0_{run['shape']}"]))
        optimizer = GaLoreAdamW(residual_group(param), lr=run["lr"], eps=run["eps"], compat="released")
        for step, grad in enumerate(inputs[f"grads_{run['shape']}"]):
            param.grad = torch.tensor(grad)
            optimizer.step()
            np.testing.assert_allclose(param.detach(), run["params"][step], rtol=0, atol=1e-5)
            norm = optimizer.state[param]["residual_norm"]
            np.testing.assert_allclose(norm, run["scaling_grad"][step], rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weights_move_outside_the_bases_too(dtype: torch.dtype) -> None:
    left = nn.Parameter(torch.zeros(30, 20, dtype=dtype))
    optimizer = GaLoreAdamW(residual_group(left), lr=0.01)
    for seed in range(3):
        left.grad = torch.randn(30, 20, generator=torch.Generator().manual_seed(seed)).to(dtype)
        optimizer.step()
    assert torch.linalg.matrix_rank(left.detach().float(), rtol=1e-2) == 20


def test_default_steps_are_those_of_the_authors_but_for_the_first_ones() -> None:
    grad = torch.outer(torch.linspace(-1, 1, 12), torch.linspace(0, 1, 8)) + 0.01 * torch.eye(12, 8)
    weights = []
    for compat in (None, "released"):
        param = nn.Parameter(torch.zeros(12, 8))
        options: dict[str, Any] = {"lr": 0.01, "eps": 1e-12, "weight_decay": 0, "compat": compat}
        optimizer = GaLoreAdamW(residual_group(param, rank=1), **options)
        for _ in range(3):
            param.grad = grad.clone()
            optimizer.step()
        weights.append(param.detach())
    # The limit is on what is corrected for the bias here and not there, which lets it grow in the first steps only.
    torch.testing.assert_close(weights[0], weights[1], rtol=0.2, atol=1e-4)


@pytest.mark.parametrize(
    ("group", "options", "word"), [({"proj_type": "full"}, {}, "full"), ({}, {"in_backward": "project"}, "project")]
)
def test_what_cannot_be_is_refused(group: dict[str, Any], options: dict[str, Any], word: str) -> None:
    with pytest.raises(InputError, match=word):
        GaLoreAdamW(residual_group(nn.Parameter(torch.zeros(6, 6)), **group), **options)
