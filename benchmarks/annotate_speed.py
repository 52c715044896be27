"""Time and peak memory of ``tl.annotate`` on 100,000 cells of a file on disk, beside a linear classifier on the genes.

    python benchmarks/annotate_speed.py [--cells 100000] [--shared ../shared] [--folder DIR]

The file (20,000 genes, about 1,500 expressed a cell, CSR) is written to a temporary folder. The classifier is what a
logistic regression of as many classes on the model's genes costs when it predicts: the same blocks, log values, one
sparse product and a softmax; its weights are random. Every run is a process of its own, after a warm-up on 500 cells of
the file. Writes ``benchmarks/results/annotate_speed.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import WARM_UP, in_process, machine, peak_mb, save
from memory import make

if TYPE_CHECKING:
    from anndata import AnnData

N_CLASSES = 184
LIMIT_S, LIMIT_MB = 60, 2000


def annotate(adata: AnnData) -> None:
    from scfm_scverse import tl

    tl.annotate(adata)


def classifier(adata: AnnData) -> None:
    import numpy as np
    import scipy.sparse as sp
    from scipy.special import softmax

    from scfm_scverse.genes import resolve_genes
    from scfm_scverse.io.blocks import iter_blocks
    from scfm_scverse.models import load
    from scfm_scverse.tokens import LogValues

    gene_rows = load("scfm-mini").gene_rows
    match = resolve_genes(adata.var_names.to_numpy(), organism="human")
    position = np.full(max(gene_rows.max(), match.rows.max()) + 2, -1, np.int32)
    position[gene_rows] = np.arange(len(gene_rows))
    tokenize = LogValues(position[match.rows], match.is_gene, len(gene_rows), 0.0)
    weights = np.random.default_rng(0).normal(size=(len(gene_rows), N_CLASSES)).astype(np.float32)
    out = np.empty((adata.n_obs, N_CLASSES), np.float32)
    for start, block in iter_blocks(adata.X, names=adata.obs_names, genes=adata.var_names):
        tokens = tokenize(block)
        values = sp.csr_matrix((tokens.values, tokens.ids, tokens.indptr), shape=(len(tokens), len(gene_rows)))
        out[start : start + len(tokens)] = softmax(values @ weights, axis=1)


WAYS = {"tl.annotate": annotate, "linear classifier": classifier}


def measure(path: Path, way: str) -> dict[str, float]:
    """Time one way on all cells, in this process."""
    from scfm_scverse.io.files import read_adata

    adata = read_adata(path, backed=True)
    WAYS[way](adata[:WARM_UP].to_memory())
    loaded = peak_mb()
    started = time.perf_counter()
    WAYS[way](adata)
    return {"seconds": time.perf_counter() - started, "loaded_mb": loaded, "peak_mb": peak_mb()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--step", nargs="*", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        step, path, *rest = arguments.step
        found: Any = make(Path(path), int(rest[0]), Path(rest[1])) if step == "make" else measure(Path(path), rest[0])
        print(json.dumps(found))
        return
    results: dict[str, Any] = {"cells": arguments.cells, "machine": machine()}
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        path = Path(folder) / "cells.h5ad"
        results["data"] = in_process(__file__, "make", path, arguments.cells, arguments.shared)
        for way in WAYS:
            results[way] = in_process(__file__, "measure", path, way)
            print(way, json.dumps(results[way]), flush=True)
    ours = results["tl.annotate"]
    print(f"within {LIMIT_S} s: {ours['seconds'] < LIMIT_S}; below {LIMIT_MB} MB: {ours['peak_mb'] < LIMIT_MB}")
    save("annotate_speed", results)


if __name__ == "__main__":
    sys.exit(main())
