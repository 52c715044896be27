"""The page of the benchmark of fine-tuning, written from its results.

    python benchmarks/finetune_page.py

Reads ``benchmarks/results/finetune_annotation.json``, writes ``docs/guides/finetuning_benchmark.md``.
"""

from __future__ import annotations

import json
from statistics import mean, stdev
from typing import Any

from finetune_annotation import BASELINES, OURS, RESULTS, ROOT
from galore_page import table

START = """# How well fine-tuned models name cells

<!-- Written by benchmarks/finetune_page.py from what benchmarks/finetune_annotation.py measured. -->

Cells with labels to learn from, and cells of others to name: those of two donors of eight (Kang, thirteen types,
stimulated and not), and those of a whole study (10x PBMC 3k, broad types, learnt from Kang and Zheng). No training saw
the labels of what is asked, nor, but for scANVI, the cells; nor did the choice of a learning rate.

- **scfm-latent, small**: {size}. "New weights" begin at random;
  "pre-trained" ones have learnt to tell hidden expression on {cells:,} unlabelled cells of six other studies,
  {pretraining_epochs} epochs, {minutes:.0f} CPU minutes, which are not in the table. It is no published checkpoint, and
  far from one in size and in cells seen.
- **scfm-mini**: made anew as the model inside the package is, but without these three studies.
- Every one of them: {epochs} epochs, of which that with the least loss on a tenth of the cells stays; classes weigh the
  same. Each row has the learning rate of three at which it told best the types of one donor among those that it learns
  from in the first split; the last table shows them.
- **Balanced regression**: logistic regression on the standardised logarithms of 2,000 variable genes.
- **scANVI** (scvi-tools): 50 and 20 epochs, 2,000 variable genes, a batch a donor, the query without labels in the
  training. **CellTypist**: its own training, "best match".

Precision, recall and F1 are means over the types, all in percent; mean ± standard deviation over three seeds, which
draw weights, order and validation cells (regression and CellTypist have none). CPU minutes of training and naming on
one core, loading included; memory of the whole process at its largest, most of it Python's and its libraries' here:
what optimizers take at other sizes is in [Memory of training](training_memory.md).
"""
TITLES = {"donors": "Two donors held out", "study": "A study held out"}


def spread(values: list[float]) -> str:
    return f"{100 * mean(values):.1f}" + (f" ± {100 * stdev(values):.1f}" if len(values) > 1 else "")


def split_table(rows: dict[str, list[dict[str, float]]]) -> str:
    head = ["model", "accuracy", "precision", "recall", "F1", "CPU minutes", "peak MiB"]
    lines = [
        [
            name,
            *(spread([run[score] for run in rows[name]]) for score in ("accuracy", "precision", "recall", "f1")),
            f"{mean(run['cpu_minutes'] for run in rows[name]):.1f}",
            f"{mean(run['peak_mib'] for run in rows[name]):,.0f}",
        ]
        for name in (*OURS, *BASELINES)
        if rows.get(name)
    ]
    return table(head, lines)


def summary(rows: dict[str, list[dict[str, float]]]) -> str:
    """What the numbers of a split say."""
    found = {name: mean(run["f1"] for run in runs) for name, runs in rows.items() if runs}
    best = max(OURS, key=lambda name: found[name])
    other = max((name for name in BASELINES if name in found), key=lambda name: found[name])
    gains = {
        kind: found[f"scfm-latent, pre-trained, {kind}"] - found[f"scfm-latent, new weights, {kind}"]
        for kind in ("AdamW", "GaLore", "LoRA")
    }
    gained = ", ".join(f"{100 * gain:+.1f} with {kind}" for kind, gain in gains.items())
    return (
        f"By macro F1 the best of ours is {best} ({100 * found[best]:.1f}), the best of the others {other} "
        f"({100 * found[other]:.1f}). Pre-training\nchanges that of scfm-latent by {gained}.\n"
    )


def rates_table(rates: dict[str, list[dict[str, float]]]) -> str:
    head = ["model", "learning rate: balanced accuracy on a donor left out"]
    lines = [
        [row, ", ".join(f"{one['lr']:g}: {100 * one['balanced_accuracy']:.1f}" for one in tried)]
        for row, tried in rates.items()
    ]
    return table(head, lines)


def page(results: dict[str, Any]) -> str:
    """The whole page as Markdown."""
    sizes, before = results["sizes"], results["pretraining"]
    size = f"width {sizes['dim']}, {sizes['n_latents']} latents, {sizes['n_layers']} layers, 5,000 genes"
    start = START.format(
        size=size,
        cells=before["cells"],
        pretraining_epochs=before["epochs"],
        minutes=before["cpu_minutes"],
        epochs=results["epochs"],
    )
    parts = [start]
    for name, rows in results["splits"].items():
        parts += [f"## {TITLES[name]}\n", split_table(rows), summary(rows)]
    return "\n".join([*parts, "## Learning rates\n", rates_table(results["rates"])])


if __name__ == "__main__":
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    (ROOT / "docs" / "guides" / "finetuning_benchmark.md").write_text(page(found), encoding="utf-8")
