"""Pre-train a model of scGPT's published size on a machine with two cores, and watch its memory.

    python benchmarks/pretrain_51m.py [--shared ../shared] [--folder pretrain_51m] [--steps 40]

51 million weights, 60,697 tokens of its own vocabulary, by GaLore with recomputed layers, through ``scfm pretrain`` on
blood cells of six studies in a file on disk. Run again, it goes on where it stopped. Writes the configuration, the
history and what was measured to ``benchmarks/results/pretrain_51m/``. The aim is 2 GB of process memory, Python and its
libraries included.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
from embed import ROOT
from finetune_data import read_corpus

from scfm_scverse.genes import load_gene_table

RESULTS = ROOT / "benchmarks" / "results" / "pretrain_51m"
N_GENES = 60_694  # and three special tokens, as published
CONFIG = """output = "run"

[data]
input = "corpus.h5ad"
validation = 0.005
genes = "genes.txt"

[model]
architecture = "scgpt"
max_length = 256

[objective]
name = "GenerativeExpression"
from_vector = 0.0  # the second pass comes later in a training, as the authors have it

[train]
max_steps = {steps}
batch_size = 8
optimizer = "galore"
lr = 3e-3
recompute = true
checkpoint_every = 20
"""


def vocabulary(measured: list[str]) -> list[str]:
    """Measured genes, then other symbols of the gene table, then numbered places for genes to come."""
    known = dict.fromkeys([*measured, *load_gene_table().symbol.tolist()])
    names = [name for name in known if name][:N_GENES]
    return names + [f"UNNAMED{at}" for at in range(N_GENES - len(names))]


def prepare(shared: Path, folder: Path, steps: int) -> None:
    """Write cells, genes and configuration."""
    if not (folder / "corpus.h5ad").exists():
        corpus = read_corpus(shared)
        corpus.write_h5ad(folder / "corpus.h5ad")
        (folder / "genes.txt").write_text("\n".join(vocabulary(corpus.var_names.tolist())) + "\n", encoding="utf-8")
    (folder / "training.toml").write_text(CONFIG.format(steps=steps), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--folder", type=Path, default=Path("pretrain_51m"))
    parser.add_argument("--steps", type=int, default=40)
    arguments = parser.parse_args()
    arguments.folder.mkdir(exist_ok=True)
    prepare(arguments.shared, arguments.folder, arguments.steps)
    command = [Path(sys.executable).with_name("scfm"), "pretrain", "training.toml"]
    # Freed tensors leave the process at once; the C library would keep those below 32 MiB.
    environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
    start = time.perf_counter()
    subprocess.run(command, cwd=arguments.folder, env=environment, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    history = pd.read_csv(arguments.folder / "run" / "history.csv")
    RESULTS.mkdir(exist_ok=True)
    for name in ("training.toml", "run/history.csv"):
        shutil.copyfile(arguments.folder / name, RESULTS / Path(name).name)
    told = {
        "peak_mib": used.ru_maxrss / 1024,
        "cpu_minutes": (used.ru_utime + used.ru_stime) / 60,
        "wall_minutes": (time.perf_counter() - start) / 60,
        "steps": len(history),
        "train_loss_first_10": history["train_loss"].head(10).mean(),
        "train_loss_last_10": history["train_loss"].tail(10).mean(),
    }
    (RESULTS / "measured.json").write_text(json.dumps(told, indent=1) + "\n")
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
