"""The page of the benchmark of memory in training, written from its results.

    python benchmarks/galore_page.py

Reads ``benchmarks/results/galore.json``, writes ``docs/guides/training_memory.md``.
"""

from __future__ import annotations

import json
from statistics import mean, median
from typing import Any

from embed import ROOT
from galore import MINI, ROWS, TURNS

USUAL, KEPT = "AdamW", "AdamW, recompute"
START = """# Memory of training

<!-- written by benchmarks/galore_page.py -->

What a training holds is weights, their gradients, the state of the optimizer and what the network keeps for the
gradient, the activations. `scfm.training.estimate_memory` tells them before a run starts, `scfm.pl.memory` draws them:

```python
import scfm_scverse as scfm
from scfm_scverse.training import TrainSettings, estimate_memory

model = scfm.models.create("scgpt", genes)
ways = {"AdamW": TrainSettings(optimizer="adamw"), "GaLore": TrainSettings(recompute=True)}
told = [estimate_memory(model, batch_size=8, n_tokens=512, settings=one, name=name) for name, one in ways.items()]
scfm.pl.memory(told)
```

What saves memory, in the order in which it does here:

- `recompute=True` keeps what enters a layer and computes the inside a second time for the gradient.
- `optimizer="galore"` keeps moments of the leading directions of each gradient, in 8 bits, and one number a row for
  the table of genes. A gradient is projected as soon as it is there and is gone before the next one comes; the table
  has gradients of the rows that a minibatch looks up.
- `precision="bfloat16"` halves weights, gradients and activations.
- Smaller minibatches with `accumulate`, fewer genes a cell, and a vocabulary of the genes that the data have.

Memory beside is what Python and its libraries take, about half a gigabyte with torch. On Linux, start Python with
`MALLOC_MMAP_THRESHOLD_=65536` in the environment: without it the C library keeps much of what was freed.

## Measured

scGPT at its published size, its objective of hidden expression, minibatches of 8 real cells of 512 genes, one thread.
MiB; the peak is the largest resident memory less what there was before the network. "Told" is what `estimate_memory`
said. "Recompute" rows compute layers twice. A process of its own for each row.
"""


def number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in rows)]
    return "\n".join(lines) + "\n"


def memory_table(results: dict[str, Any], model: str) -> str:
    """Rows of scGPT, or of scfm-mini, in the order of the benchmark; shares are of full-rank AdamW's peak."""
    every, told = results["memory"], results.get("told", {}).get("told", {})
    mini = f"{MINI['vocabulary']}, "
    start = mini if model == MINI["vocabulary"] else ""
    found = {name: every[name] for name in ROWS if name in every and name.startswith(mini) == bool(start)}
    usual = found[f"{start}{USUAL}"]["peak"]
    head = ["way", "weights", "gradients", "state", "activations", "peak", "told", "of AdamW's", "whole process"]
    head += ["checkpoint", "CPU s a step", "of it optimizer"]
    rows = []
    for name, one in found.items():
        share = one["peak"] / usual
        parts = [number(one[part]) for part in ("weights", "gradients", "state", "activations", "peak")]
        seconds = [number(one["step_s"], 1), number(one["optimizer_s"], 2)]
        checkpoint = number(one["checkpoint"]) + ("" if one["tensors_only"] else " (objects)")
        whole = number(one["process_peak"])
        rows.append(
            [name.removeprefix(start), *parts, number(told.get(name)), f"{share:.2f}", whole, checkpoint, *seconds]
        )
    return table(head, rows)


def loss_table(losses: dict[str, Any]) -> str:
    rows = [
        [way, lr, " / ".join(number(seed[-1], 2) for seed in seeds), number(mean(seed[-1] for seed in seeds), 2)]
        for way, one in losses.items()
        for lr, seeds in one["losses"].items()
    ]
    return table(["way", "learning rate", "loss of each seed", "mean"], rows)


def best(losses: dict[str, Any], way: str) -> float:
    return min(mean(seed[-1] for seed in seeds) for seeds in losses[way]["losses"].values())


def aims(results: dict[str, Any]) -> list[str]:
    """Each aim, and what was reached where it was measured."""
    found, losses = results["memory"], results.get("loss", {})
    ours, usual, kept = found.get("ours, recompute"), found.get(USUAL), found.get(KEPT)
    fused, halved = found.get("fused AdamW, recompute"), found.get("ours, recompute, bfloat16")
    lines = []
    if ours and usual and kept:
        lines += [
            f"State of the optimizer, 40 MiB at most: {ours['state']:.1f}.",
            f"Peak with recomputing, 0.45 of AdamW's with it: {ours['peak'] / kept['peak']:.2f}.",
            f"The same, 0.30 of AdamW's as it is run without: {ours['peak'] / usual['peak']:.2f}.",
            f"Checkpoint of the optimizer, tensors only, 25 MiB at most: {ours['checkpoint']:.1f}.",
        ]
    if "steps" in results:
        turns = {name: values for name, values in results["steps"]["steps"].items() if name in ROWS}
        ratios = [mine / theirs for theirs, mine in zip(*(turns[name] for name in TURNS), strict=True)]
        lines.append(
            f"A step, 1.05 times that of fused AdamW, both with recomputing: {median(ratios):.2f} (CPU seconds, "
            f"{len(ratios)} steps of each that took turns: {min(ratios):.2f} to {max(ratios):.2f})."
        )
    if ours and fused:
        lines += [
            f"Beside fused AdamW, which has no temporaries of its own, the peak is {ours['peak'] / fused['peak']:.2f}.",
        ]
    halved_words = f"{halved['peak'] / usual['peak']:.2f}" if halved and usual else "not measured here"
    lines.append(f"Peak in bfloat16, 0.20 of AdamW's as it is run: {halved_words}.")
    if "refresh" in results:
        one = results["refresh"]["refresh"]
        lines.append(
            f"New bases of all matrices of the layers, 5 times faster than by singular values: "
            f"{one['exact'] / one['warm']:.1f} ({one['warm']:.2f} s and {one['exact']:.2f} s); they keep "
            f"{one['energy_warm']:.4f} of the energy that the exact ones keep, the old ones {one['energy_old']:.4f}."
        )
    if {"AdamW", "ours"} <= set(losses):
        ratio = best(losses, "ours") / best(losses, "AdamW")
        lines.append(f"Loss on cells of other donors at equal steps, 1.01 times that of full rank: {ratio:.3f}.")
    return [f"- {line}" for line in lines]


def page(results: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    load = [row["load"] for row in results["memory"].values()]
    parts = [
        START,
        memory_table(results, "scGPT"),
        f"Machine: {results['cpus']} cores, load average {min(load):.1f} to {max(load):.1f} while the rows ran. "
        f"The full vocabulary has {results['vocabularies']['published']:,} rows, the trimmed one "
        f"{results['vocabularies']['trimmed']:,}. The processor has no bfloat16: "
        "the time of that row is an emulation's, and kernels elsewhere may take other memory for themselves.\n",
        "scfm-mini is a table of 6,000 genes; 256 cells, its own objective:\n",
        memory_table(results, "scfm-mini"),
        "## Aims\n",
        "\n".join(aims(results)) + "\n",
    ]
    if results.get("loss"):
        parts += [
            "## Loss at equal steps\n",
            "A smaller scGPT (width 128, two layers) from new weights, 210 steps of 16 cells, squared error of hidden "
            "bins on cells of two donors that it has not seen. Learning rates are the best on other cells.\n",
            loss_table(results["loss"]),
        ]
    return "\n".join(parts)


if __name__ == "__main__":
    found = json.loads((ROOT / "benchmarks" / "results" / "galore.json").read_text(encoding="utf-8"))
    (ROOT / "docs" / "guides" / "training_memory.md").write_text(page(found), encoding="utf-8")
