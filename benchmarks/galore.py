"""Memory, time and loss of training scGPT: full rank, low rank, LoRA, Adafactor.

    python benchmarks/galore.py [--rows "NAME;NAME"] [--shared ../shared]

The network has scGPT's published size (51 million weights, 60,697 rows of genes), its objective of hidden expression,
and minibatches of eight real cells of 512 genes; scfm-mini has its own objective and minibatches of 256. Every row is a
process of its own, of one thread, in which memory that is freed leaves the process (``MALLOC_MMAP_THRESHOLD_=65536``).
Peak memory is the largest resident memory less what there was before the network, so that interpreter and libraries do
not count; that of the whole process stands beside it. The losses are of a smaller scGPT, on the cells of donors that it
has not seen. Rows of galore-torch are there where that is installed. Rows that are not asked for stay as they are in
``benchmarks/results/galore.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from embed import ROOT, in_process, machine, save

FUSED = {"optimizer": "adamw"}
MINI = {"vocabulary": "scfm-mini", "cells": 256}
# Who makes the optimizer, and the settings that it and the network follow.
ROWS: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "settings": FUSED},
    "AdamW, recompute": {"optimizer": "adamw", "settings": FUSED | {"recompute": True}},
    "fused AdamW, recompute": {"settings": FUSED | {"recompute": True}},
    "ours": {"settings": {}},
    "ours, recompute": {"settings": {"recompute": True}},
    "galore-torch": {"optimizer": "galore-torch", "settings": FUSED},
    "galore-torch, recompute": {"optimizer": "galore-torch", "settings": FUSED | {"recompute": True}},
    "LoRA, recompute": {"settings": FUSED | {"lora_rank": 8, "recompute": True}},
    "Adafactor, recompute": {"settings": {"optimizer": "adafactor", "recompute": True}},
    "ours, recompute, micro-batches of 2": {"settings": {"recompute": True}, "accumulate": 4},
    "ours, recompute, trimmed": {"settings": {"recompute": True}, "vocabulary": "trimmed"},
    "AdamW, recompute, trimmed": {
        "optimizer": "adamw",
        "settings": FUSED | {"recompute": True},
        "vocabulary": "trimmed",
    },
    "ours, recompute, float32 moments": {
        "settings": {"recompute": True, "optimizer_kwargs": {"moments": "float32"}},
    },
    "ours, recompute, update in backward": {
        "settings": {"recompute": True, "optimizer_kwargs": {"in_backward": "update"}},
    },
    "ours, recompute, whole gradients": {"settings": {"recompute": True, "optimizer_kwargs": {"in_backward": None}}},
    "ours, recompute, low-rank embedding": {
        "settings": {"recompute": True, "optimizer_kwargs": {"embedding": "lowrank"}},
    },
    "ours, recompute, bfloat16": {"settings": {"recompute": True, "precision": "bfloat16"}},
    "scfm-mini, AdamW": {"optimizer": "adamw", "settings": FUSED} | MINI,
    "scfm-mini, fused AdamW": {"settings": FUSED} | MINI,
    "scfm-mini, ours": {"settings": {}} | MINI,
}
USUAL: dict[str, Any] = {"optimizer": "settings", "vocabulary": "published", "cells": 8}
# Ways that take turns, so that their times can be compared on a busy machine, and how often.
TURNS, ROUNDS = ("fused AdamW, recompute", "ours, recompute"), 5
# Ways to train, the learning rates they are given and the seeds.
LOSSES: dict[str, tuple[list[float], list[int]]] = {
    "AdamW": ([1e-3, 3e-3], [0, 1, 2]),
    "ours": ([3e-3, 1e-2], [0, 1, 2]),
    "ours, float32 moments": ([3e-3], [0, 1, 2]),
    "ours, low-rank embedding": ([3e-3], [0, 1, 2]),
    "Adafactor": ([1e-2], [0, 1, 2]),
}


def prepare(folder: Path, shared: Path) -> dict[str, Any]:
    """Write vocabularies and tokens, so that the processes that are measured need not."""
    from galore_cells import MEMORY_SOURCE, read_source, tokens_of, vocabulary, write_tokens

    from scfm_scverse import models

    adata = read_source(shared, MEMORY_SOURCE)
    sizes = {}
    for name in ("published", "trimmed"):
        genes = vocabulary(adata, trimmed=name == "trimmed")
        model = models.create("scgpt", genes, dim=8, n_layers=1, n_heads=1, max_length=512)
        write_tokens(folder / f"{name}.npz", tokens_of(adata[:64].copy(), model))
        (folder / f"{name}.txt").write_text("\n".join(genes))
        sizes[name] = len(model.spec.genes)
    mini = models.load("scfm-mini")
    write_tokens(folder / "scfm-mini.npz", tokens_of(adata[:512].copy(), mini))
    (folder / "scfm-mini.txt").touch()
    return {"cells": MEMORY_SOURCE, "vocabularies": sizes}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--rows", help="names with a semicolon between; all otherwise")
    options = parser.parse_args()
    threads = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    os.environ |= dict.fromkeys(threads, "1") | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    path = ROOT / "benchmarks" / "results" / "galore.json"
    results: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    names = [*ROWS, "refresh", "steps", "told", *(f"loss: {way}" for way in LOSSES)]
    wanted = options.rows.split(";") if options.rows else names
    with tempfile.TemporaryDirectory() as folder:
        results |= in_process(__file__, "prepare", folder, options.shared)
        for name in wanted:
            if "galore-torch" in name and not find_spec("galore_torch"):
                continue
            kind = name.split(":")[0] if name.split(":")[0] in {"loss", "refresh", "steps", "told"} else "memory"
            found = in_process(__file__, kind, folder, options.shared, name) | {"load": machine()["load_average"][0]}
            results.setdefault(kind, {})[name.removeprefix("loss: ")] = found
            print(name, json.dumps(found), flush=True)
            save("galore", results | machine())


def step(kind: str, folder: str, shared: str, name: str = "") -> dict[str, Any]:
    if kind == "prepare":
        return prepare(Path(folder), Path(shared))
    if kind == "loss":
        import galore_loss

        way = name.removeprefix("loss: ")
        return galore_loss.measure(shared, "comparison", way, *LOSSES[way])
    import galore_memory

    if kind == "refresh":
        return galore_memory.measure_refresh(folder)
    if kind == "told":
        ours = {name: USUAL | row for name, row in ROWS.items() if "optimizer" not in row}
        return galore_memory.told(folder, ours)
    if kind == "steps":
        return galore_memory.measure_steps(folder, {name: USUAL | ROWS[name] for name in TURNS}, ROUNDS)
    return galore_memory.measure(folder, USUAL | ROWS[name])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
