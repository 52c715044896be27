"""One row of ``galore.py``: the memory and the time of training steps, in the process that measures them."""

from __future__ import annotations

import gc
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from galore_cells import batch_of, objective_of, read_tokens

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from scfm_scverse.models.trainable import Trainable
    from scfm_scverse.tokens import Tokens
    from scfm_scverse.training.settings import TrainSettings

MIB = 2**20
CELLS, GENES = 8, 512
RANK = 128
SHORT = 32  # tokens of a cell of the first step


def resident(what: str) -> int:
    """``VmRSS`` or ``VmHWM`` of this process, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def released_groups(network: nn.Module) -> list[dict[str, Any]]:
    """Groups as the README of galore-torch has them: the matrices of the layers."""
    low = [param for param in network.transformer_encoder.parameters() if param.ndim == 2]
    held = {id(param) for param in low}
    others = [param for param in network.parameters() if id(param) not in held]
    return [
        {"params": others},
        {"params": low, "rank": RANK, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"},
    ]


def make_optimizer(kind: str, network: nn.Module, settings: Any) -> Optimizer:
    import torch

    if kind == "adamw":
        return torch.optim.AdamW(network.parameters(), 1e-4)
    if kind == "galore-torch":
        from galore_torch import GaLoreAdamW as Released

        return Released(released_groups(network), lr=1e-3, no_deprecation_warning=True)
    from scfm_scverse.training import optimizers

    return optimizers.make_optimizer(network, settings)


def state_bytes(state: Any) -> int:
    """Bytes of the storages of all tensors in a state, also of those that are attributes of an object in it."""
    import torch

    if isinstance(state, torch.Tensor):
        return state.untyped_storage().nbytes()
    values = state.values() if isinstance(state, dict) else vars(state).values() if hasattr(state, "__dict__") else ()
    return sum(state_bytes(value) for value in values)


def gradient_bytes(network: nn.Module, optimizer: Any) -> int:
    """Bytes of what is there of the gradients before a step."""
    found = 0
    for param in network.parameters():
        grad = param.grad
        if grad is not None:
            parts = (grad._values(), grad._indices()) if grad.is_sparse else (grad,)
            found += sum(part.untyped_storage().nbytes() for part in parts)
    projected = getattr(optimizer, "_projected", {})
    return found + sum(one.low.untyped_storage().nbytes() for one in projected.values())


def measure(folder: str, row: dict[str, Any]) -> dict[str, Any]:
    """Numbers of one way to train; memory is the process's, without what it held before and with the weights."""
    import torch

    from scfm_scverse.training.settings import TrainSettings

    torch.set_num_threads(1)
    settings = TrainSettings(batch_size=row["cells"] // row.get("accumulate", 1), **row["settings"])
    tokens, genes = prepared(folder, row["vocabulary"])
    short = first_tokens(tokens, SHORT)
    # Pages of libraries are no memory of the training.
    Training(genes, short, row, settings, dim=64, n_layers=1, n_heads=2).step(0)
    training = Training(genes, tokens, row, settings)
    network = training.model.network
    weights = sum(param.untyped_storage().nbytes() for param in network.parameters())
    gc.collect()
    base = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    training.tokens = short  # a step in which the optimizer allocates its state
    training.step(0)
    training.tokens = tokens
    steps = [training.step(number) for number in range(row.get("steps", 1))]
    peak = resident("VmHWM")
    return {
        "parameters": sum(param.numel() for param in network.parameters()),
        "trained": sum(param.numel() for param in network.parameters() if param.requires_grad),
        "weights": weights / MIB,
        "gradients": steps[-1]["gradients"] / MIB,
        "state": sum(state_bytes(state) for state in training.optimizer.state.values()) / MIB,
        "activations": max(step["activations"] for step in steps) / MIB,
        "peak": (peak - base + weights) / MIB,
        "process_peak": peak / MIB,
        "step_s": min(step["s"] for step in steps),
        "optimizer_s": min(step["optimizer_s"] for step in steps),
        **checkpoint(training.optimizer),
    }


def prepared(folder: str, vocabulary: str) -> tuple[Tokens, list[str]]:
    """Tokens and genes as the first process left them."""
    genes = (Path(folder) / f"{vocabulary}.txt").read_text().split("\n")
    return read_tokens(Path(folder) / f"{vocabulary}.npz"), genes


def model_of(row: dict[str, Any], genes: list[str], **sizes: int) -> Trainable:
    """Make the network of a row, scGPT's of published size unless sizes say otherwise."""
    from scfm_scverse import models

    if row["vocabulary"] == "scfm-mini":
        return cast("Trainable", models.load("scfm-mini"))
    return models.create("scgpt", genes, max_length=GENES, **sizes)


def measure_steps(folder: str, rows: dict[str, dict[str, Any]], rounds: int) -> dict[str, list[float]]:
    """CPU seconds of steps of several ways to train that take turns, so that a busy machine is as busy for each."""
    import torch

    from scfm_scverse.training.settings import TrainSettings

    torch.set_num_threads(1)
    trainings, found = {}, {name: list[float]() for name in rows}
    for name, row in rows.items():
        tokens, genes = prepared(folder, row["vocabulary"])
        trainings[name] = Training(genes, tokens, row, TrainSettings(batch_size=row["cells"], **row["settings"]))
        trainings[name].step(0)
    for number in range(1, rounds + 1):
        for name, training in trainings.items():
            found[name].append(training.step(number)["s"])
    return found


def first_tokens(tokens: Tokens, n: int) -> Tokens:
    """Return the first tokens of every cell."""
    from dataclasses import replace

    import numpy as np

    kept = (tokens.indptr[:-1, None] + np.arange(n)).ravel()
    return replace(tokens, indptr=np.arange(len(tokens) + 1) * n, ids=tokens.ids[kept], values=tokens.values[kept])


class Training:
    """A scGPT or scfm-mini, its own objective, an optimizer, and minibatches of real cells."""

    def __init__(
        self, genes: list[str], tokens: Tokens, row: dict[str, Any], settings: TrainSettings, **sizes: int
    ) -> None:
        from scfm_scverse.training import optimizers

        self.model, self.n_cells = model_of(row, genes, **sizes), row["cells"]
        self.objective, self.tokens, self.settings = objective_of(self.model), tokens, settings
        optimizers.prepare_network(self.model.network.train(), settings)
        self.optimizer = make_optimizer(row["optimizer"], self.model.network, settings)

    def step(self, number: int) -> dict[str, float]:
        """Train on a minibatch, in as many parts as the settings say."""
        import numpy as np
        import torch

        found: dict[str, float] = {}
        start, before = time.process_time(), resident("VmRSS")
        rows = (np.arange(self.n_cells) + number * self.n_cells) % len(self.tokens)
        for part in np.split(rows, self.n_cells // self.settings.batch_size):
            losses = self.objective.losses(self.model, batch_of(self.tokens, part, number))
            loss = sum(losses.values()) * (self.settings.batch_size / self.n_cells)
            found["activations"] = resident("VmRSS") - before
            loss.backward()
            del losses, loss
        found["gradients"] = gradient_bytes(self.model.network, self.optimizer)
        after_backward = time.process_time()
        if not hasattr(self.optimizer, "clip_grad_norm_"):
            torch.nn.utils.clip_grad_norm_(self.model.network.parameters(), 1.0)
        elif self.optimizer.in_backward != "update":
            self.optimizer.clip_grad_norm_(1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return found | {"s": time.process_time() - start, "optimizer_s": time.process_time() - after_backward}


def told(folder: str, rows: dict[str, dict[str, Any]]) -> dict[str, float]:
    """What :func:`scfm_scverse.training.estimate_memory` says of rows, MiB."""
    from scfm_scverse.training import estimate_memory
    from scfm_scverse.training.settings import TrainSettings

    found = {}
    for name, row in rows.items():
        tokens, genes = prepared(folder, row["vocabulary"])
        model = model_of(row, genes)
        accumulate = row.get("accumulate", 1)
        n, length = row["cells"] // accumulate, round(len(tokens.ids) / len(tokens))
        settings = TrainSettings(batch_size=n, accumulate=accumulate, **row["settings"])
        one = estimate_memory(model, batch_size=n, n_tokens=length, settings=settings, objective=objective_of(model))
        found[name] = one.peak / MIB
    return found


def measure_refresh(folder: str) -> dict[str, float]:
    """Seconds in which the bases of all matrices of the layers are found, on the gradients of two minibatches."""
    import torch

    from scfm_scverse.training.settings import TrainSettings
    from scfm_scverse.training.subspace import leading_columns

    torch.set_num_threads(1)
    tokens, genes = prepared(folder, "trimmed")
    row = {"optimizer": "adamw", "vocabulary": "trimmed", "cells": CELLS}
    training = Training(genes, tokens, row, TrainSettings(batch_size=2, optimizer="adamw"))
    matrices = [param for param in training.model.network.transformer_encoder.parameters() if param.ndim == 2]
    grads: list[list[Tensor]] = []
    for number in range(2):
        sum(training.objective.losses(training.model, batch_of(tokens, [number, number + 2], 0)).values()).backward()
        grads.append([param.grad.clone() for param in matrices])
        training.model.network.zero_grad()
    rng = torch.Generator().manual_seed(0)
    found = {"exact": 0.0, "cold": 0.0, "warm": 0.0, "energy_warm": 0.0, "energy_old": 0.0}
    for before, grad in zip(*grads, strict=True):
        start = time.process_time()
        old = leading_columns(before, None, RANK, rng)
        cold = time.process_time()
        new = leading_columns(grad, old, RANK, rng)
        warm = time.process_time()
        best = torch.linalg.svd(grad, full_matrices=False).Vh[:RANK].T
        found["exact"] += time.process_time() - warm
        found["cold"] += cold - start
        found["warm"] += warm - cold
        most = (grad @ best).square().sum() * len(matrices)
        found["energy_warm"] += float((grad @ new).square().sum() / most)
        found["energy_old"] += float((grad @ old).square().sum() / most)
    return found


def checkpoint(optimizer: Optimizer) -> dict[str, Any]:
    """Size of the optimizer's checkpoint, and whether it is tensors only."""
    import torch

    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    size = file.tell() / MIB
    file.seek(0)
    try:
        torch.load(file, weights_only=True)
    except Exception:  # noqa: BLE001 (whatever an object of theirs raises)
        return {"checkpoint": size, "tensors_only": False}
    return {"checkpoint": size, "tensors_only": True}
