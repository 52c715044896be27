"""Validation loss of ``galore.py``: a small scGPT on real cells, full rank beside low rank at equal steps."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from galore_cells import batch_of, objective_of, read_source, tokens_of, vocabulary

SIZES = {"dim": 128, "n_layers": 2, "n_heads": 4, "max_length": 64}
STEPS, BATCH, VALIDATION, RANK = 210, 16, 128, 32
# Learning rates are chosen on other cells than those that the comparison is read from.
DATA = {"development": ("pbmc3k_10x", None), "comparison": ("kang_ifnb_pbmc", "donor")}
LRS = (3e-4, 1e-3, 3e-3, 1e-2)
WAYS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw"},
    "Adafactor": {"optimizer": "adafactor"},
    "ours": {"optimizer_kwargs": {"rank": RANK}},
    "ours, float32 moments": {"optimizer_kwargs": {"rank": RANK, "moments": "float32"}},
    "ours, low-rank embedding": {"optimizer_kwargs": {"rank": RANK, "embedding": "lowrank"}},
    "ours, AdamW embedding": {"optimizer_kwargs": {"rank": RANK, "embedding": "adamw"}},
    "ours, bfloat16": {"precision": "bfloat16", "optimizer_kwargs": {"rank": RANK}},
}


def split(adata: Any, groups: str | None) -> tuple[Any, Any]:
    """Rows to learn from and a fixed set to measure on: whole donors where there are some."""
    import numpy as np

    rng = np.random.default_rng(0)
    if groups is None:
        held = rng.random(adata.n_obs) < 0.2
    else:
        held = adata.obs[groups].isin(sorted(adata.obs[groups].unique())[:2]).to_numpy()
    return np.flatnonzero(~held), np.sort(rng.permutation(np.flatnonzero(held))[:VALIDATION])


def measure(shared: str, data: str, way: str, lrs: list[float], seeds: list[int], steps: int = STEPS) -> dict[str, Any]:
    """Losses of a way to train on the held out cells, for each learning rate and seed."""
    import torch

    from scfm_scverse import models

    torch.set_num_threads(1)
    source, groups = DATA[data]
    adata = read_source(Path(shared), source)
    genes = vocabulary(adata, trimmed=True)
    learned, measured = split(adata, groups)
    tokens = tokens_of(adata, models.create("scgpt", genes, **SIZES))
    started = time.process_time()
    found = {
        str(lr): [
            train(genes, tokens, learned, measured, WAYS[way] | {"lr": lr, "seed": seed}, steps) for seed in seeds
        ]
        for lr in lrs
    }
    return {"losses": found, "cpu_s": time.process_time() - started}


def train(
    genes: list[str], tokens: Any, learned: Any, measured: Any, options: dict[str, Any], steps: int
) -> list[float]:
    """Losses on the held out cells after a third, two thirds and all of the steps."""
    import numpy as np
    import torch

    from scfm_scverse import models
    from scfm_scverse.training import optimizers
    from scfm_scverse.training.settings import TrainSettings

    settings = TrainSettings(**options)
    model = models.create("scgpt", genes, seed=settings.seed, **SIZES)
    objective = objective_of(model)
    optimizers.prepare_network(model.network, settings)
    optimizer = optimizers.make_optimizer(model.network, settings)
    base = [group["lr"] for group in optimizer.param_groups]
    rng = np.random.default_rng(settings.seed)
    out = []
    for step in range(steps):
        share = optimizers.rate(step, warmup=steps // 10, total=steps)
        for group, lr in zip(optimizer.param_groups, base, strict=True):
            group["lr"] = lr * share
        rows = rng.choice(learned, BATCH, replace=False)
        sum(objective.losses(model, batch_of(tokens, rows, step)).values()).backward()
        if hasattr(optimizer, "clip_grad_norm_"):
            optimizer.clip_grad_norm_(1.0)
        else:
            torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if (step + 1) % (steps // 3) == 0:
            with torch.no_grad():
                parts = [objective.losses(model, batch_of(tokens, rows, -1)) for rows in np.array_split(measured, 4)]
            out.append(float(np.mean([part["expression"].item() for part in parts])))
    return out
