"""Neighbours in a large reference: the index against the exact search.

    python benchmarks/neighbors.py [--shared ../shared] [--cells 210000]

The cells are those of the shared human studies, embedded by scfm-mini, and points between each and one of its fifteen
nearest neighbours with noise of half their distance, so that they lie as real cells do, in the space where annotation
looks for neighbours. 1,000 of them are looked up
among the others. Writes ``benchmarks/results/neighbors.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))

from mini_training.head import embed_study
from mini_training.studies import load_studies

from scfm_scverse.models import load
from scfm_scverse.reference import load_default_reference, neighbors

RESULTS = Path(__file__).parent / "results" / "neighbors.json"
N_QUERIES, K, PARENTS = 1000, 15, 20_000


def large(cells: NDArray[np.float32], n: int, *, random_state: int = 0) -> NDArray[np.float32]:
    """``n`` points between neighbouring cells."""
    rng = np.random.default_rng(random_state)
    parents = cells[rng.choice(len(cells), min(PARENTS, len(cells)), replace=False)]
    nearest = neighbors.NeighborSearch(parents)(parents, K + 1).index
    one = rng.integers(0, len(parents), n)
    other = nearest[one, rng.integers(1, K + 1, n)]
    step = parents[other] - parents[one]
    gap = np.linalg.norm(step, axis=1, keepdims=True)
    noise = 0.5 * gap / np.sqrt(cells.shape[1]) * rng.normal(size=step.shape)
    return (parents[one] + rng.random((n, 1)) * step + noise).astype(np.float32)


def timed(cells: NDArray[np.float32], among: NDArray[np.float32]) -> tuple[dict[str, float], NDArray[np.int64]]:
    """Seconds until a first answer, seconds for all cells then, and the neighbours."""
    search = neighbors.NeighborSearch(among)
    started = time.perf_counter()
    search(cells[:1], K)
    ready = time.perf_counter()
    found = search(cells, K).index
    return {"first answer s": ready - started, "all answers s": time.perf_counter() - ready}, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--cells", type=int, default=210_000)
    arguments = parser.parse_args()
    model, axes = load("scfm-mini"), load_default_reference().fine.axes
    embedded = np.concatenate([embed_study(model, study) for study in load_studies(arguments.shared)])
    points = large(embedded[np.isfinite(embedded).all(axis=1)] @ axes, arguments.cells + N_QUERIES)
    cells, among = points[:N_QUERIES], points[N_QUERIES:]
    neighbors.EXACT_UP_TO = len(among)
    exactly, true = timed(cells, among)
    neighbors.EXACT_UP_TO = 0
    by_index, found = timed(cells, among)
    by_index["recall"] = float(np.mean([np.isin(one, other).mean() for one, other in zip(found, true, strict=True)]))
    results = {"cells": len(among), "queries": N_QUERIES, "k": K, "exact": exactly, "index": by_index}
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
