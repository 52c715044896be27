"""What is told of a training's memory is what the training takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.training import GaLoreAdamW, TrainSettings, estimate_memory, galore_param_groups
from scfm_scverse.training.live import Live
from scfm_scverse.training.memory import _extended, _minibatch, _trace
from scfm_scverse.training.objectives import Joint, MaskedExpression
from scfm_scverse.training.sizes import sizes_of
from support import run_python

GENES = [f"GENE{i}" for i in range(1200)]


def small_model(**sizes: int) -> Any:
    return scfm.models.create("scgpt", GENES, **{"dim": 32, "n_layers": 2, "n_heads": 2, "max_length": 64, **sizes})


def test_tensors_are_counted_while_they_live() -> None:
    weight = torch.ones(100)
    with Live([weight]) as live:
        doubled = weight * 2
        view = doubled.view(10, 10)
        assert live.now == 400
        del doubled
        assert live.now == 400
        live.mark()
        del view
        _ = weight.view(10, 10)
        assert live.now == 0
    assert live.peaks == [400, 400]


class Both(nn.Module):
    """A table, matrices of several shapes, one of them of moments that are worth 8 bits, and vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(1100, 24)
        self.layers = nn.Sequential(nn.Linear(24, 1000), nn.LayerNorm(1000), nn.Linear(1000, 24), nn.Linear(24, 3))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """[t] -> [t, 3]."""
        out: torch.Tensor = self.layers(self.table(ids))
        return out


def held(optimizer: torch.optim.Optimizer) -> int:
    tensors = [value for state in optimizer.state.values() for value in state.values()]
    return sum(one.untyped_storage().nbytes() for one in tensors)


@pytest.mark.parametrize("moments", ["float32", "8bit"])
@pytest.mark.parametrize("proj_type", ["std", "reverse_std", "full"])
@pytest.mark.parametrize("embedding", ["rowwise", "adamw", "lowrank"])
def test_state_of_galore_has_the_size_that_is_told(moments: Any, proj_type: Any, embedding: Any) -> None:
    network = Both()
    groups = galore_param_groups(network, rank=8, proj_type=proj_type, embedding=embedding)
    optimizer = GaLoreAdamW(groups, moments=moments)
    told = sizes_of(optimizer).state
    network(torch.arange(50)).square().mean().backward()
    optimizer.step()
    assert held(optimizer) == told


@pytest.mark.parametrize("make", [torch.optim.AdamW, torch.optim.Adafactor])
def test_state_of_torch_has_the_size_that_is_told(make: Any) -> None:
    network = Both()
    optimizer = make(network.parameters())
    told = sizes_of(optimizer).state
    network(torch.arange(50)).square().mean().backward()
    optimizer.step()
    assert held(optimizer) == told


@pytest.mark.parametrize("recompute", [False, True])
def test_memory_of_many_cells_lies_on_the_line_through_one_and_two(recompute: bool) -> None:
    model = small_model()
    model.network.transformer_encoder.recompute = recompute
    sizes = sizes_of(torch.optim.AdamW(model.network.parameters()))
    one, two, seven = (_trace(model, None, _minibatch(model, n, 50), sizes) for n in (1, 2, 7))
    told = _extended([one, two], 7)
    # Inside a stretch another moment may be the highest one with many cells.
    np.testing.assert_allclose(told.held, seven.held, rtol=0.15, atol=4096)
    assert told.held.max() == pytest.approx(seven.held.max(), rel=0.02)
    assert told.kept.tolist() == seven.kept.tolist()


def test_model_and_draws_stay_as_they_are() -> None:
    model = small_model()
    model.network.eval()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    before = {name: one.clone() for name, one in model.network.state_dict().items()}
    chosen = TrainSettings(lora_rank=2, precision="bfloat16", recompute=True)
    estimate_memory(model, batch_size=3, n_tokens=40, settings=chosen, objective=Joint(MaskedExpression()))
    assert torch.equal(torch.rand(2), expected)
    assert not model.network.training
    assert not model.network.transformer_encoder.recompute
    after = model.network.state_dict()
    assert all(torch.equal(after[name], one) for name, one in before.items())
    assert all(param.requires_grad and param.grad is None for param in model.network.parameters())


def test_less_is_told_of_what_takes_less() -> None:
    model = small_model(n_layers=6)

    def peak(**options: Any) -> int:
        return estimate_memory(model, batch_size=8, n_tokens=60, settings=TrainSettings(**options)).peak

    rank: dict[str, Any] = {"optimizer_kwargs": {"rank": 8}}
    usual = peak(optimizer="adamw")
    assert peak(**rank) < usual
    assert peak(recompute=True, **rank) < 0.7 * peak(**rank)
    assert peak(recompute=True, precision="bfloat16", **rank) < 0.7 * peak(recompute=True, **rank)
    assert peak(optimizer="adamw", accumulate=2) > usual


def test_numbers_are_told_in_words() -> None:
    told = estimate_memory(small_model(), batch_size=2, n_tokens=40, settings=TrainSettings(), name="ours")
    lines = str(told).splitlines()
    assert lines[0] == "ours"
    assert [line.split()[0] for line in lines[1:]] == [*told.parts, "peak"]
    assert lines[-1].endswith(f"{told.peak / 2**20:,.1f} MiB")
    assert sum(told.parts.values()) == told.peak


@pytest.mark.parametrize(("batch_size", "n_tokens", "word"), [(0, 10, "batch_size=0"), (2, 2000, "n_tokens=2000")])
def test_what_cannot_be_is_refused(batch_size: int, n_tokens: int, word: str) -> None:
    with pytest.raises(InputError, match=word):
        estimate_memory(small_model(), batch_size=batch_size, n_tokens=n_tokens, settings=TrainSettings())


# A process of its own measures what a training takes beside what the process held before.
PROGRAM = """
import gc, json
from pathlib import Path
import torch
from scfm_scverse import models
from scfm_scverse.training import TrainSettings, estimate_memory
from scfm_scverse.training.memory import _minibatch
from scfm_scverse.training.objectives import Joint, MaskedExpression
from scfm_scverse.training.optimizers import make_optimizer, prepare_network

torch.set_num_threads(1)
sizes, settings, n_cells = {arguments}
settings = TrainSettings(batch_size=n_cells, **settings)
GENES = [f"GENE{{i}}" for i in range(12000)]

def resident(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(what + ":"))

def make(**sizes):
    model = models.create("scgpt", GENES, n_heads=4, max_length=256, **sizes)
    objective = Joint(MaskedExpression())
    objective.prepare(model)
    prepare_network(model.network.train(), settings)
    return model, objective, make_optimizer(model.network, settings), _minibatch(model, n_cells, 255)

def train(model, objective, optimizer, batch):
    for _ in range(2):
        sum(objective.losses(model, batch).values()).backward()
        optimizer.step()
        optimizer.zero_grad()

train(*make(dim=16, n_layers=1))
made = make(**sizes)
weights = sum(one.nbytes for one in made[0].network.parameters())
gc.collect()
before = resident("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
train(*made)
peak = resident("VmHWM") - before + weights
model = models.create("scgpt", GENES, n_heads=4, max_length=256, **sizes)
told = estimate_memory(model, batch_size=n_cells, n_tokens=255, settings=settings, objective=Joint(MaskedExpression()))
print("FOUND" + json.dumps([told.peak, peak]))
"""
WIDE, DEEP = {"dim": 384, "n_layers": 3}, {"dim": 256, "n_layers": 8}


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux to forget the peak")
@pytest.mark.parametrize(
    ("sizes", "settings", "n_cells"),
    [
        (DEEP, {"optimizer": "adamw", "recompute": True}, 6),
        (WIDE, {"optimizer": "adafactor", "recompute": True}, 4),
        (DEEP, {"optimizer_kwargs": {"rank": 64}}, 6),
        (WIDE, {"optimizer_kwargs": {"rank": 64}, "recompute": True}, 16),
    ],
)
def test_peak_is_within_a_tenth_of_what_is_measured(
    sizes: dict[str, int], settings: dict[str, Any], n_cells: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    said = run_python(PROGRAM.format(arguments=repr((sizes, settings, n_cells))))
    told, measured = json.loads(said[said.index("FOUND") + 5 :].splitlines()[0])
    assert told == pytest.approx(measured, rel=0.1)
