"""Fine-tune on labelled cells and name those of held-out donors or of a held-out study, beside simple methods.

    python benchmarks/finetune_annotation.py [--shared ../shared] [--folder FOLDER] [--seeds 3] [--celltypist PYTHON]

The rows: a small scfm-latent from scratch and one that was pre-trained on unlabelled cells of six other studies, each
trained by AdamW, GaLore and LoRA; scfm-mini, made anew without the studies of the splits, and fine-tuned;
class-balanced regression, scANVI, CellTypist (in an environment of its own, see annotation_celltypist.py). Each row of
ours has the learning rate of three at which it told best the types of one donor among those that it learns from in the
first split. Every run is a process of its own, so that its peak memory is its own; it is kept in FOLDER and not run
again. Times are those of the processor, of all threads and of processes that a row starts. Writes
``benchmarks/results/finetune_annotation.json``. One core takes some two hours.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from anndata import AnnData
from embed import ROOT
from finetune_data import LABEL, SPLITS, STUDIES, Split, read_corpus, vocabulary

RESULTS = ROOT / "benchmarks" / "results" / "finetune_annotation.json"
SIZES = {"dim": 64, "n_layers": 2, "n_heads": 4, "n_latents": 16}
PRETRAINING_EPOCHS, EPOCHS = 10, 6
# Row -> start and how it is trained.
OURS: dict[str, tuple[str, dict[str, Any]]] = {
    "scfm-latent, new weights, AdamW": ("new", {"optimizer": "adamw"}),
    "scfm-latent, new weights, GaLore": ("new", {"optimizer": "galore"}),
    "scfm-latent, new weights, LoRA": ("new", {"optimizer": "adamw", "lora_rank": 8}),
    "scfm-latent, pre-trained, AdamW": ("pretrained", {"optimizer": "adamw"}),
    "scfm-latent, pre-trained, GaLore": ("pretrained", {"optimizer": "galore"}),
    "scfm-latent, pre-trained, LoRA": ("pretrained", {"optimizer": "adamw", "lora_rank": 8}),
    "scfm-mini, AdamW": ("scfm-mini", {"optimizer": "adamw"}),
    "scfm-mini, GaLore": ("scfm-mini", {"optimizer": "galore"}),
}
# Learning rates to choose from.
RATES = {"AdamW": (3e-4, 1e-3, 3e-3), "GaLore": (1e-3, 3e-3, 1e-2), "LoRA": (1e-3, 3e-3, 1e-2)}
BASELINES = ("balanced regression", "scANVI", "CellTypist")


def pretrain(shared: Path, folder: Path) -> None:
    """Train the small network on unlabelled cells, once."""
    import scfm_scverse as scfm

    if (folder / "pretrained").exists():
        return
    corpus = read_corpus(shared)
    scfm.FoundationModel.setup_anndata(corpus)
    model = scfm.FoundationModel(corpus, "scfm-latent", genes=vocabulary(corpus), **SIZES)
    model.train(PRETRAINING_EPOCHS, objective="pretraining", optimizer="galore", lr=3e-3, folder=folder / "pretraining")
    losses = {name: model.history[name].iloc[:, 0].dropna().tolist() for name in ("train_loss", "validation_loss")}
    out = {"cells": corpus.n_obs, "epochs": PRETRAINING_EPOCHS} | losses | cost()
    (folder / "pretraining.json").write_text(json.dumps(out))
    model.save(folder / "pretrained")


def make_mini(shared: Path, folder: Path) -> None:
    """Make scfm-mini without the studies of the splits, once: the released one has learnt from them."""
    import scfm_scverse as scfm

    if (folder / "scfm-mini").exists():
        return
    sys.path.insert(0, str(ROOT / "scripts"))
    from mini_training.build import Sources, build

    sources = Sources.read(shared)
    for study in STUDIES:
        sources = sources.without(sources.by_name[study].group)
    scfm.FoundationModel.from_pretrained(build(sources).model).save(folder / "scfm-mini")


def fine_tuned(row: str, train: AnnData, lr: float, seed: int, arguments: argparse.Namespace, **options: Any) -> Any:
    """Train a model as a row says."""
    import scvi

    import scfm_scverse as scfm

    start, settings = OURS[row]
    scvi.settings.seed = seed
    scfm.FoundationModel.setup_anndata(train, labels_key=LABEL)
    if start == "new":
        genes = vocabulary(read_corpus(arguments.shared))
        model = scfm.FoundationModel(train, "scfm-latent", genes=genes, **SIZES)
    else:
        model = scfm.FoundationModel.from_pretrained(arguments.folder / start, train)
    model.train(EPOCHS, objective="cell_type", lr=lr, **settings, **options)
    return model


def rates_of(row: str) -> tuple[float, ...]:
    """Learning rates that a row may have."""
    return RATES[row.rpartition(", ")[2]]


def try_rate(row: str, lr: float, arguments: argparse.Namespace) -> None:
    """Train on all donors of the first split but one, and write the accuracy, balanced by type, on that one."""
    from sklearn.metrics import balanced_accuracy_score

    train = SPLITS["donors"](arguments.shared).train
    model = fine_tuned(row, train, lr, 0, arguments, holdout_key="donor")
    rows = model.validation_indices
    truth = train.obs[LABEL].to_numpy(str)[rows]
    score = balanced_accuracy_score(truth, np.asarray(model.predict(indices=rows), dtype=str))
    _file(arguments.folder, row, "rate", lr).write_text(json.dumps({"lr": lr, "balanced_accuracy": float(score)}))


def tried_rates(row: str, folder: Path) -> list[dict[str, float]]:
    """What came of each learning rate of a row."""
    return [json.loads(_file(folder, row, "rate", lr).read_text()) for lr in rates_of(row)]


def answer(row: str, split: Split, seed: int, arguments: argparse.Namespace) -> np.ndarray:
    """Name the cells of the query as a row does."""
    import finetune_baselines as baselines

    if row in OURS:
        best = max(tried_rates(row, arguments.folder), key=lambda tried: tried["balanced_accuracy"])
        return np.asarray(fine_tuned(row, split.train, best["lr"], seed, arguments).predict(split.query), dtype=str)
    if row == "scANVI":
        return baselines.scanvi(split, seed)
    if row == "CellTypist":
        return baselines.celltypist(split, arguments.celltypist)
    return baselines.regression(split)


def scores(truth: np.ndarray, named: np.ndarray) -> dict[str, float]:
    """Accuracy, and precision, recall and F1 as means over the types of the query."""
    from sklearn.metrics import precision_recall_fscore_support

    each = precision_recall_fscore_support(truth, named, labels=np.unique(truth), average="macro", zero_division=0)
    return {"accuracy": float(np.mean(truth == named))} | dict(
        zip(("precision", "recall", "f1"), map(float, each[:3]), strict=True)
    )


def run_row(row: str, name: str, seed: int, arguments: argparse.Namespace) -> None:
    """Run one row on one split in this process and write what came of it."""
    split = SPLITS[name](arguments.shared)
    named = answer(row, split, seed, arguments)
    out = scores(split.query.obs[LABEL].to_numpy(str), named) | cost()
    _file(arguments.folder, row, name, seed).write_text(json.dumps(out))


def cost() -> dict[str, float]:
    """Processor time and the largest memory of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    minutes = sum(each.ru_utime + each.ru_stime for each in used) / 60
    return {"cpu_minutes": minutes, "peak_mib": max(each.ru_maxrss for each in used) / 1024}


def _file(folder: Path, row: str, name: str, seed: float) -> Path:
    return folder / f"{row.replace(' ', '_').replace(',', '')}-{name}-{seed}.json"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--folder", type=Path, default=Path("finetune_annotation"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--celltypist", type=Path, help="Python of the environment that has CellTypist")
    parser.add_argument("--rate", nargs=2, metavar=("ROW", "LR"), help=argparse.SUPPRESS)
    parser.add_argument("--row", nargs=3, metavar=("ROW", "SPLIT", "SEED"), help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    warnings.simplefilter("ignore")
    if arguments.rate:
        try_rate(arguments.rate[0], float(arguments.rate[1]), arguments)
        return
    if arguments.row:
        row, name, seed = arguments.row
        run_row(row, name, int(seed), arguments)
        return
    arguments.folder.mkdir(exist_ok=True)
    pretrain(arguments.shared, arguments.folder)
    make_mini(arguments.shared, arguments.folder)
    for row in OURS:
        for lr in rates_of(row):
            if not _file(arguments.folder, row, "rate", lr).exists():
                print(f"{row}, learning rate {lr}", flush=True)
                subprocess.run([sys.executable, *sys.argv, "--rate", row, str(lr)], check=True)
    rows = [row for row in (*OURS, *BASELINES) if row != "CellTypist" or arguments.celltypist]
    for seed in range(arguments.seeds):
        for name in SPLITS:
            for row in rows:
                if _file(arguments.folder, row, name, seed).exists() or (
                    seed and row in {"balanced regression", "CellTypist"}
                ):
                    continue
                print(f"{row}, {name}, seed {seed}", flush=True)
                subprocess.run([sys.executable, *sys.argv, "--row", row, name, str(seed)], check=True)
    found = {
        name: {
            row: [
                json.loads(file.read_text())
                for seed in range(arguments.seeds)
                if (file := _file(arguments.folder, row, name, seed)).exists()
            ]
            for row in rows
        }
        for name in SPLITS
    }
    pretraining = json.loads((arguments.folder / "pretraining.json").read_text())
    rates = {row: tried_rates(row, arguments.folder) for row in OURS}
    out = {"sizes": SIZES, "pretraining": pretraining, "epochs": EPOCHS, "rates": rates, "splits": found}
    RESULTS.write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
