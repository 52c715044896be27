"""A screen of deletions on this machine: the obvious loop, this package's exact mode, and screening to first order.

    python benchmarks/perturbation_speed.py [--models NAME ...] [--ways WAY ...] [--again] [--threads N]

Every expressed gene is deleted from every cell: control monocytes of a stimulation with interferon beta, from the
shared data folder; the goal is the mean of the stimulated ones. Published sizes with random weights, the largest timed
on a sample of copies, and the small transformer that ``small_transformer.py`` trained on other studies. Every row runs
in a process of its own on tokens that are ready. CPU time is compared. Rows that
``benchmarks/results/perturbation_speed.json`` holds are not run again; ``--again`` runs them anew. Then writes
``docs/guides/perturbation_speed.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import ROOT, in_process, machine, save
from perturbation_speed_page import page
from published_models_files import make_checkpoint

if TYPE_CHECKING:
    import numpy as np
    import torch

    from scfm_scverse.models.base import Sensitive
    from scfm_scverse.perturbation import Copies, Edits, Reading
    from scfm_scverse.tokens import Tokens


@dataclass(frozen=True)
class Case:
    """A model and the cells that it is run on.

    Attributes
    ----------
    n_cells
        Perturbed cells.
    min_cells
        Cells that must hold a gene for it to be ranked.
    most_genes
        Expressed genes that these cells have at most, 400 at least: a limit to the time that a large model takes.
    n_copies
        Copies that the exact mode is timed on, without any screening; ``None`` is all of them.
    """

    n_cells: int
    min_cells: int
    most_genes: int
    n_copies: int | None = None


SMALL = "trained small one"
MODELS = {
    SMALL: Case(24, 3, 2000),
    "Geneformer V1-10M": Case(4, 1, 700),
    "scGPT": Case(1, 1, 700),
    "Geneformer V2-104M": Case(1, 1, 700, n_copies=32),
}
WAYS = ("float32", "loop", "screening", "bfloat16")
STUDY, CELL_TYPE, GOAL_CELLS = "kang_ifnb_pbmc", "CD14 Mono", 40
LEAST_GENES = 400
TOP = 50
LOOP_COPIES, EMULATED_COPIES = 12, 2
RESULTS = ROOT / "benchmarks" / "results" / "perturbation_speed.json"
PAGE = ROOT / "docs" / "guides" / "perturbation_speed.md"


@dataclass(frozen=True)
class Screen:
    """All that a row needs."""

    model: Sensitive
    tokens: Tokens
    edits: Edits
    copies: Copies
    reading: Reading


def prepare(name: str, folder: Path, shared: Path) -> Screen:
    """Load the model, make the tokens of its cells, and plan the deletion of every gene."""
    import numpy as np
    import torch

    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    from scfm_scverse._query import read_query
    from scfm_scverse.models import Wanted, load
    from scfm_scverse.perturbation import CountEdits, Reading, TokenEdits, perturb_each, special_tokens

    path = ROOT / "benchmarks" / "small_transformer" if name == SMALL else Path((folder / f"{name}.path").read_text())
    model = load(path)
    adata = read_cells(shared / "data" / "cells" / f"{STUDY}.cells")
    of_type = (adata.obs["cell_type"] == CELL_TYPE).to_numpy()
    control = (adata.obs["condition"] == "control").to_numpy()
    rng = np.random.default_rng(0)
    expressed = np.diff(adata.X.tocsr().indptr)
    fits = (expressed >= LEAST_GENES) & (expressed <= MODELS[name].most_genes)
    perturbed = rng.permutation(np.flatnonzero(of_type & control & fits))[: MODELS[name].n_cells]
    reached = rng.permutation(np.flatnonzero(of_type & ~control))[:GOAL_CELLS]
    adata = adata[np.concatenate([perturbed, reached])].copy()
    words = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": "human"}
    query = read_query(adata, model, **words)
    tokenize, values = model.tokenizer(query.columns), query.values.matrix
    goal_tokens = tokenize(values[len(perturbed) :])
    cpu = torch.device("cpu")
    goal = np.mean(
        [
            model.encode(goal_tokens.take(np.array([i])), Wanted(), device=cpu, dtype=torch.float32).cell[0].numpy()
            for i in range(len(goal_tokens))
        ],
        axis=0,
    )
    counts = CountEdits(values[: len(perturbed)].tocsr(), tokenize, query.columns.vocabulary, query.columns.base)
    tokens, special = counts.tokens, special_tokens(model.spec)
    edits: Edits = TokenEdits(tokens, special, model.spec.context or 0) if model.spec.edits_tokens else counts
    reading = Reading("genes" if model.spec.compares_genes else "cell", states=goal[None])
    return Screen(model, tokens, edits, perturb_each(tokens, "delete", special), reading)


def exact(screen: Screen, copies: Copies, dtype: str = "float32") -> tuple[float, np.ndarray]:
    """CPU seconds of the exact pass over some copies, and the shift to the goal and the effect of each [p, 2]."""
    import numpy as np

    from scfm_scverse.perturbation import stream_shifts

    scores = np.zeros((len(copies), 2))
    began = time.process_time()
    for part in stream_shifts(screen.model, screen.edits, copies, screen.reading, dtype=dtype):
        scores[part.copy] = np.column_stack([part.to_states[:, 0], 1 - part.similarity])
    return time.process_time() - began, scores


def run_exact(name: str, screen: Screen, folder: Path) -> dict[str, Any]:
    """The exact mode over every copy; what it says is kept."""
    import numpy as np

    exact(screen, screen.copies.take(np.arange(2)))
    copies = screen.copies.take(np.arange(len(screen.copies))[: MODELS[name].n_copies])
    seconds, scores = exact(screen, copies)
    np.save(kept(name, folder), scores)
    lengths = screen.tokens.lengths
    return {
        "cpu_s": seconds,
        "copies": len(screen.copies),
        "cells": len(screen.tokens),
        "genes": len(np.unique(screen.copies.genes)),
        "tokens": float(lengths.mean()),
        "ms": 1e3 * seconds / len(copies),
        "run": len(copies),
        "median_effect": float(np.median(scores[:, 1])),
    }


def run_bfloat16(screen: Screen) -> dict[str, Any]:
    """The exact mode in bfloat16: whole where the processor has its arithmetic, a few copies where it is emulated."""
    import numpy as np
    import torch

    from scfm_scverse.inference.device import choose_dtype

    native = choose_dtype("auto", torch.device("cpu"), bears_bfloat16=True) is torch.bfloat16
    rows = np.arange(len(screen.copies) if native else EMULATED_COPIES)
    seconds, _ = exact(screen, screen.copies.take(rows), "bfloat16")
    # Each cell itself runs once, which counts where there are few copies.
    return {"ms": 1e3 * seconds / (len(rows) if native else len(rows) + 1), "copies": len(rows), "native": native}


def run_loop(name: str, screen: Screen) -> dict[str, Any]:
    """The network as its authors run it, a copy at a time, over copies of as many tokens as those of the screen."""
    import numpy as np
    import published_models_originals as networks
    import torch

    torch.manual_seed(0)
    if name == SMALL:
        network: torch.nn.Module = networks.Bert(5000, 512, 128, 4, 256, head=True)
        network.encoder = networks.PlainEncoder(4, 128, 4, 256)
    else:
        network, _ = networks.original(name)
    network.eval()
    lengths = screen.tokens.lengths[screen.copies.cell] - 1
    drawn = np.random.default_rng(0).choice(lengths, LOOP_COPIES).tolist()
    with torch.no_grad():
        network([drawn[0]])
        began = time.process_time()
        for length in drawn:
            network([length])
        seconds = time.process_time() - began
    return {"ms": 1e3 * seconds / len(drawn), "copies": len(drawn), "tokens": float(np.mean(drawn))}


def run_screening(name: str, screen: Screen, folder: Path) -> dict[str, Any]:
    """First order on all genes, exact on the shortlist, for both scores; recall against the exact mode."""
    import numpy as np

    from scfm_scverse.perturbation.first_order import first_order
    from scfm_scverse.tl._screen_run import ALWAYS, SHARE

    scores, n_genes = np.load(kept(name, folder)), len(screen.model.spec.genes)
    of = screen.copies.genes[:, 0]
    n_cells = np.bincount(of, minlength=n_genes)
    ranked = np.flatnonzero(n_cells >= MODELS[name].min_cells)
    found: dict[str, Any] = {"genes": len(ranked)}
    first_order(screen.model, screen.tokens.take(np.array([0])), screen.reading, goal=0)
    for column, score in enumerate(("goal", "effect")):
        truth = np.abs(np.bincount(of, weights=scores[:, column], minlength=n_genes)[ranked] / n_cells[ranked])
        began = time.process_time()
        goal = 0 if score == "goal" else None
        estimate = np.abs(first_order(screen.model, screen.tokens, screen.reading, goal=goal).mean[ranked])
        first_s = time.process_time() - began
        n_short = max(ALWAYS, int(np.ceil(SHARE * len(ranked))))
        shortlist, best = np.argsort(-estimate)[:n_short], np.argsort(-truth)[:TOP]
        rows = np.flatnonzero(np.isin(of, ranked[shortlist]))
        exact_s, again = exact(screen, screen.copies.take(rows))
        order = np.corrcoef(*(np.argsort(np.argsort(one)) for one in (estimate, truth)))[0, 1]
        found[score] = {
            "first_order_s": first_s,
            "shortlist_s": exact_s,
            "shortlist": n_short,
            "share_of_copies": len(rows) / len(screen.copies),
            "recall": len(np.intersect1d(shortlist, best)) / TOP,
            "recall_without_exact": len(np.intersect1d(shortlist[:TOP], best)) / TOP,
            "rank_correlation": float(order),
            "same_again": float(np.abs(again[:, column] - scores[rows, column]).max()),
        }
    return found


def kept(name: str, folder: Path) -> Path:
    """Where the exact scores of a model lie while others are measured."""
    return folder / f"{name}-scores.npy"


def step(what: str, *rest: str) -> dict[str, Any]:
    name, folder = rest[0], Path(rest[1])
    if what == "checkpoint":
        (folder / f"{name}.path").write_text(str(make_checkpoint(name, folder / name)))
        return {}
    import torch

    torch.set_num_threads(int(rest[3]))
    screen = prepare(name, folder, Path(rest[2]))
    if what == "loop":
        return run_loop(name, screen)
    if what == "bfloat16":
        return run_bfloat16(screen)
    return (run_exact if what == "float32" else run_screening)(name, screen, folder)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run what is missing, and save after every row."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"models": {}}
    for name in options.models:
        rows = results["models"].setdefault(name, {})
        ways = [way for way in options.ways if options.again or way not in rows]
        if MODELS[name].n_copies is not None:
            ways = [way for way in ways if way != "screening"]
        if "screening" in ways and "float32" not in ways:
            ways.insert(0, "float32")  # whose scores the screening is compared with
        if ways and name != SMALL and not (folder / f"{name}.path").is_file():
            in_process(__file__, "checkpoint", name, folder)
        for way in ways:
            rows[way] = in_process(__file__, way, name, folder, options.shared, options.threads)
            rows[way] |= {"threads": options.threads, **machine()}
            print(f"{name:20s} {way:10s} {json.dumps(rows[way])}", flush=True)
            save("perturbation_speed", results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    # Threads that wait without working would count as CPU time on a busy machine.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, Path(folder))
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
