"""Published models on this machine: this package beside each original's way and beside the obvious fix.

    python benchmarks/published_models.py [--models NAME ...] [--ways WAY ...] [--device cuda] [--threads N] [--again]
        [--cells N]

Published sizes, random weights in the layouts that the authors release, 64 cells with 600 to 1,200 expressed genes (8
of them for the models that take seconds a cell): real cells, drawn with replacement and thinned, where the shared data
folder is there, else simulated. Every row runs in a process of its own, on tokens that are ready, after a warm-up on
one cell; the other networks are in ``published_models_originals.py``. CPU time (all threads added) is the figure to
compare, wall time suffers from whatever else runs. Rows that ``benchmarks/results/published_models.json`` holds are not
run again, so that a run that was cut short goes on; ``--again`` runs them anew. Then writes
``docs/guides/published_models_benchmark.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import ROOT, in_process, machine, peak_mb, save
from published_models_files import N_CELLS, make_cells, make_checkpoint
from published_models_page import page

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

    from scfm_scverse.models import CellModel
    from scfm_scverse.tokens import Tokens

FEW_CELLS = 8  # of models that take seconds a cell
PLAIN_CELLS = {"scFoundation gene": 2, "scBERT": 2}  # for plain networks whose work is the same for every cell
# Model -> checkpoint, cells, what it is loaded with, what is wanted.
MODELS: dict[str, tuple[str, int, dict[str, str], str]] = {
    "scGPT": ("scGPT", N_CELLS, {}, "cell"),
    "Geneformer V1-10M": ("Geneformer V1-10M", N_CELLS, {}, "cell"),
    "Geneformer V2-104M": ("Geneformer V2-104M", FEW_CELLS, {}, "cell"),
    "scFoundation cell": ("scFoundation", FEW_CELLS, {}, "cell"),
    "scFoundation gene": ("scFoundation", FEW_CELLS, {"key": "gene"}, "gene"),
    "scBERT": ("scBERT", FEW_CELLS, {}, "cell"),
}
WAYS = ("float32", "original", "fixed", "bfloat16", "tl.embed", "int8", "compiled")
TRIED = ("scGPT", "Geneformer V1-10M")  # where int8 and torch.compile are measured, and the whole verb
RESULTS = ROOT / "benchmarks" / "results" / "published_models.json"
TOKENS = RESULTS.with_name("tokenize.json")
PAGE = ROOT / "docs" / "guides" / "published_models_benchmark.md"


def ways_of(model: str, device: str) -> list[str]:
    """Rows of a model, ours first: they tell the lengths of the cells to the others."""
    if device != "cpu":
        return [f"{dtype} on {device}" for dtype in ("float32", "bfloat16")]
    left_out = {"int8", "compiled", "tl.embed"} if model not in TRIED else set()
    return [way for way in WAYS if way not in left_out | ({"fixed"} if model == "scBERT" else set())]


def load_with_tokens(model: str, folder: Path, n_cells: int) -> tuple[CellModel, Tokens]:
    """The model as a user loads it, and the tokens of its cells."""
    import anndata
    import numpy as np

    from scfm_scverse._query import read_query
    from scfm_scverse.models import load

    checkpoint, _, options, _ = MODELS[model]
    loaded = load(checkpoint_path(checkpoint, folder), **options)
    adata = anndata.read_h5ad(folder / "cells.h5ad")[:n_cells].copy()
    words = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": "human"}
    query = read_query(adata, loaded, **words)
    tokens = loaded.tokenizer(query.columns)(query.values.matrix)
    np.save(folder / f"{model}.npy", tokens.lengths)
    return loaded, tokens


def checkpoint_path(checkpoint: str, folder: Path) -> Path:
    return Path((folder / f"{checkpoint}.path").read_text())


def ours(model: str, folder: Path, n_cells: int, dtype: str, device: str) -> dict[str, Any]:
    """Encode every cell, tokens ready, as ``tl.embed`` does it."""
    import numpy as np
    import torch

    from scfm_scverse.inference.buckets import minibatches, token_budget
    from scfm_scverse.inference.device import choose_dtype
    from scfm_scverse.models import Wanted

    where = torch.device(device)
    if dtype == "bfloat16" and choose_dtype("auto", where, bears_bfloat16=True) is not torch.bfloat16:
        return {"left out": "the processor does not compute in bfloat16"}
    loaded, tokens = load_with_tokens(model, folder, n_cells)
    if device != "cpu":
        tokens = tokens.take(np.tile(np.arange(len(tokens)), 16))
    ready, precision = peak_mb(), getattr(torch, dtype)
    groups = minibatches(tokens.lengths, token_budget=token_budget(loaded.spec.minibatch_tokens, where))
    want = Wanted(outputs=frozenset({MODELS[model][3]}))
    vectors = {}

    def run(cells: np.ndarray) -> None:
        found = loaded.encode(tokens.take(cells), want, device=where, dtype=precision)
        if found.cell is not None:
            vectors.update(zip(cells.tolist(), found.cell.float().cpu().numpy(), strict=True))

    run(np.array([0]))
    found = timed(lambda: [run(group) for group in groups], len(tokens), where)
    found |= {"ready_mb": ready, "tokens": float(tokens.lengths.mean()), "minibatches": len(groups)}
    found |= share_of_peak(model, tokens.lengths, found, where, precision)
    if vectors:
        found["cosine"] = compare(folder / f"{model}-vectors.npy", np.stack([vectors[i] for i in sorted(vectors)]))
    return found


def timed(run: Callable[[], object], n_cells: int, where: torch.device | None = None) -> dict[str, float]:
    """CPU ms and wall ms a cell, cells a second, and the largest memory so far."""
    import torch

    def now() -> tuple[float, float]:
        if where is not None and where.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    wall, cpu = now()
    run()
    after = now()
    wall, cpu = after[0] - wall, after[1] - cpu
    found = {"cpu_ms": 1e3 * cpu / n_cells, "wall_ms": 1e3 * wall / n_cells, "cells_per_s": n_cells / wall}
    found |= {"peak_mb": peak_mb(), "cells": n_cells}
    if where is not None and where.type == "cuda":
        found["gpu_mb"] = torch.cuda.max_memory_allocated() / 1e6
    return found


# Layers that run for every row, width, hidden width. Where one row a cell is read, the last layer costs next to nothing
# and is not counted.
ENCODERS = {
    "scGPT": (11, 512, 512),
    "Geneformer V1-10M": (5, 256, 512),
    "Geneformer V2-104M": (10, 768, 3072),
    "scFoundation cell": (12, 768, 3072),
}


def share_of_peak(
    model: str, lengths: Any, found: dict[str, float], where: torch.device, dtype: torch.dtype
) -> dict[str, float]:
    """Arithmetic of the layers that run whole over the time, beside that of one large matrix product."""
    import torch

    if model not in ENCODERS:
        return {}
    n_layers, dim, hidden = ENCODERS[model]
    work = sum(n_layers * (2 * n * (4 * dim**2 + 2 * dim * hidden) + 4 * n * n * dim) for n in lengths.tolist())
    size = 8192 if where.type == "cuda" else 2048
    a = torch.randn(size, size, device=where, dtype=dtype)
    a @ a
    key = "wall_ms" if where.type == "cuda" else "cpu_ms"
    peak = max(2 * size**3 / timed(lambda: a @ a, 1, where)[key] for _ in range(5)) / 1e6
    rate = work / (found[key] * len(lengths)) / 1e6
    return {"gflops": rate, "gflops_of_a_product": peak}


def compare(path: Path, vectors: Any) -> float | None:
    """Keep float32's vectors; return the smallest cosine of another precision's to them."""
    import numpy as np

    if not path.is_file():
        np.save(path, vectors)
        return None
    expected = np.load(path)
    found = vectors[: len(expected)]
    norms = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    return float(((found * expected).sum(1) / norms).min())


def other(model: str, folder: Path, way: str) -> dict[str, Any]:
    """Run a plain network over the same cells, padded in the order in which they came (Geneformer's: by length)."""
    import numpy as np
    import published_models_originals as networks
    import torch

    torch.manual_seed(0)
    network, batch = (networks.original if way == "original" else networks.fixed)(model)
    network.eval()
    lengths = np.load(folder / f"{model}.npy").tolist()[: PLAIN_CELLS.get(model)]
    if model.startswith("Geneformer"):
        lengths.sort(reverse=True)
    with torch.inference_mode() if way == "fixed" else torch.no_grad():
        network([max(lengths) // 2])
        batches = [lengths[i : i + batch] for i in range(0, len(lengths), batch)]
        found = timed(lambda: [network(one) for one in batches], len(lengths))
    computed = sum(max(one) * len(one) for one in batches)
    return {**found, "tokens": float(np.mean(lengths)), "padding": 1 - sum(lengths) / computed}


def whole_verb(model: str, folder: Path, n_cells: int) -> dict[str, Any]:
    """``tl.embed`` from an AnnData in memory and a checkpoint on disk, everything included."""
    import anndata

    from scfm_scverse import tl

    adata = anndata.read_h5ad(folder / "cells.h5ad")[:n_cells].copy()
    path = checkpoint_path(MODELS[model][0], folder)
    return timed(lambda: tl.embed(adata, model=path), n_cells)


def row(model: str, folder: Path, way: str, n_cells: int) -> dict[str, Any]:
    """Measure one row."""
    if way in ("original", "fixed"):
        return other(model, folder, way)
    if way in ("int8", "compiled"):
        from published_models_tried import tried

        return tried(model, way, folder, timed)
    if way == "tl.embed":
        return whole_verb(model, folder, n_cells)
    dtype, _, device = way.partition(" on ")
    return ours(model, folder, n_cells, dtype, device or "cpu")


def step(name: str, *rest: str) -> dict[str, Any]:
    if name == "cells":
        return make_cells(Path(rest[0]), Path(rest[1]))
    if name == "checkpoint":
        checkpoint, folder = rest[0], Path(rest[1])
        (folder / f"{checkpoint}.path").write_text(str(make_checkpoint(checkpoint, folder / checkpoint)))
        return {}
    import torch

    model, folder, way, n_cells, threads = rest[0], Path(rest[1]), rest[2], int(rest[3]), int(rest[4])
    torch.set_num_threads(threads)
    if name == "lengths":
        return {"tokens": float(load_with_tokens(model, folder, n_cells)[1].lengths.mean())}
    return row(model, folder, way, n_cells)


def run(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run what is missing, and save after every row."""
    results = json.loads(RESULTS.read_text()) if RESULTS.is_file() else {"models": {}}
    results["cells"] = in_process(__file__, "cells", folder / "cells.h5ad", options.shared)
    for model in options.models:
        rows = results["models"].setdefault(model, {})
        ways = [way for way in ways_of(model, options.device) if options.ways is None or way in options.ways]
        ways = [way for way in ways if options.again or way not in rows]
        if not ways:
            continue
        checkpoint, n_cells = MODELS[model][0], min(MODELS[model][1], options.cells)
        if not (folder / f"{checkpoint}.path").is_file():
            in_process(__file__, "checkpoint", checkpoint, folder)
        if "float32" not in ways:
            in_process(__file__, "lengths", model, folder, "", n_cells, options.threads)
        for way in ways:
            rows[way] = in_process(__file__, "row", model, folder, way, n_cells, options.threads)
            rows[way] |= {"threads": options.threads, **machine()}
            numbers = " ".join(f"{key} {one:,.1f}" for key, one in rows[way].items() if isinstance(one, float))
            print(f"{model:20s} {way:10s} {rows[way].get('left out', numbers)}", flush=True)
            save("published_models", results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--ways", nargs="+")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--cells", type=int, default=N_CELLS)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    # Threads that wait without working would count as CPU time on a busy machine.
    os.environ["OMP_WAIT_POLICY"] = "passive"
    os.environ.pop("OMP_NUM_THREADS", None)
    with tempfile.TemporaryDirectory() as folder:
        results = run(options, Path(folder))
    tokens = json.loads(TOKENS.read_text()) if TOKENS.is_file() else {}
    PAGE.write_text(page(results, tokens), encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
