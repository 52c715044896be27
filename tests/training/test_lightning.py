"""The optimizer under Lightning's automatic optimisation."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from scfm_scverse.training import GaLoreAdamW, galore_param_groups


def fit(folder: Path, in_backward: Any, *, parts: int, steps: int = 7, resume: Path | None = None) -> nn.Module:
    """Train for some steps of 16 cells, each in some parts, clipped, and return the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning as L

    class Plan(L.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.network = nn.Sequential(nn.Linear(12, 24), nn.Tanh(), nn.Linear(24, 12), nn.Linear(12, 2))

        def training_step(self, _: Tensor, batch_idx: int) -> Tensor:
            # Cells by the step and not by the loader, whose place Lightning does not restore.
            rng = torch.Generator().manual_seed(self.global_step)
            x, y = (torch.randn(16, width, generator=rng).chunk(parts)[batch_idx % parts] for width in (12, 2))
            return (self.network(x) - y).square().mean()

        def configure_optimizers(self) -> GaLoreAdamW:
            groups = galore_param_groups(self.network, rank=3, update_proj_gap=3)
            return GaLoreAdamW(groups, 0.01, eps=1e-2, in_backward=in_backward)

        def configure_gradient_clipping(self, optimizer: Any, *_: Any, **__: Any) -> None:
            optimizer.clip_grad_norm_(0.1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        options: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = L.Trainer(
            accelerator="cpu", max_steps=steps, accumulate_grad_batches=parts, default_root_dir=folder, **options
        )
        plan = Plan()
        trainer.fit(plan, DataLoader(torch.zeros(20), 1), ckpt_path=resume, weights_only=True)
        trainer.save_checkpoint(folder / "last.ckpt")
    return plan.network


def assert_same(one: nn.Module, other: nn.Module, atol: float) -> None:
    for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=atol)


@pytest.mark.slow
def test_projecting_in_the_backward_pass_trains_the_same_network(tmp_path: Path) -> None:
    # Bases of nearly equal singular values carry roundings on: a loss that is larger by 1e-7 changes weights by 4e-5.
    expected = fit(tmp_path, None, parts=1)
    assert_same(fit(tmp_path, "project", parts=1), expected, 2e-4)
    assert_same(fit(tmp_path, None, parts=2), expected, 2e-4)


@pytest.mark.slow
def test_training_is_resumed_exactly_from_tensors_alone(tmp_path: Path) -> None:
    expected = fit(tmp_path, "project", parts=1)
    fit(tmp_path, "project", parts=1, steps=4)
    assert_same(fit(tmp_path, "project", parts=1, resume=tmp_path / "last.ckpt"), expected, 0)
