"""Speed of ``tl.embed`` from an AnnData in memory to ``obsm``, beside scanpy's way to a PCA of the same cells.

    python benchmarks/embed.py [--cells 20000] [--shared ../shared]

Counts (CSR, 20,000 genes, about 1,500 expressed a cell) are real cells drawn with replacement and thinned where the
shared data folder is there, else simulated. Every run is a process of its own and is timed after a run on 500 cells, so
that compiling and loading do not count; the two ways take turns. Writes ``benchmarks/results/embed.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp
    from anndata import AnnData

ROOT = Path(__file__).resolve().parents[1]
REPEATS = 3
N_GENES, EXPRESSED = 20_000, 1_500
SOURCE = "pbmc_hao1000_unlabelled"
WARM_UP = 500


def cell_blocks(
    n_cells: int, expressed: int, shared: Path, block: int = 5000
) -> tuple[list[str], str, Iterator[sp.csr_matrix]]:
    """Names of the genes, a word on the source, and blocks of counts with about ``expressed`` genes a cell."""
    import numpy as np

    rng = np.random.default_rng(0)
    path = shared / "data" / "cells" / f"{SOURCE}.cells"
    if path.is_file():
        names, draw = _thinned(path, expressed, rng)
        word = f"cells of {SOURCE}, drawn with replacement and thinned"
    else:
        names, draw = _poisson(expressed, rng)
        word = "Poisson counts at log-normal rates of genes"
    sizes = [min(block, n_cells - start) for start in range(0, n_cells, block)]
    return names, word, (draw(size) for size in sizes)


def _thinned(path: Path, expressed: int, rng: np.random.Generator) -> tuple[list[str], Any]:
    import numpy as np

    sys.path.insert(0, str(path.parents[2] / "tools"))
    from cells import read_cells

    adata = read_cells(path)
    seen = np.asarray((adata.X > 0).sum(axis=0)).ravel()
    kept = np.sort(np.argsort(-seen, kind="stable")[:N_GENES])
    counts = adata.X[:, kept].tocsr()

    def lost(share: float) -> float:  # genes a cell expected to be seen at this depth, over what is wanted
        return float((1 - (1 - share) ** counts.data).sum() / counts.shape[0] - expressed)

    share = _solve(lost, 1e-3, 1.0)

    def draw(size: int) -> sp.csr_matrix:
        rows = counts[rng.integers(0, counts.shape[0], size)]
        rows.data = rng.binomial(rows.data.astype(int), share).astype(np.float32)
        rows.eliminate_zeros()
        return rows

    return adata.var_names[kept].tolist(), draw


def _poisson(expressed: int, rng: np.random.Generator) -> tuple[list[str], Any]:
    import numpy as np
    import scipy.sparse as sp

    from scfm_scverse.genes import load_gene_table

    table = load_gene_table()
    names = table.symbol[np.argsort(table.biotype != "protein_coding", kind="stable")[:N_GENES]].tolist()
    rates = rng.lognormal(0, 2, N_GENES)
    depth = _solve(lambda x: float(-np.expm1(-x * rates).sum() - expressed), 1e-6, 1e3)

    def draw(size: int) -> sp.csr_matrix:
        cells = [rng.poisson(rates * depth * rng.lognormal(0, 0.3)) for _ in range(size)]
        return sp.vstack([sp.csr_matrix(cell.astype(np.float32)) for cell in cells], format="csr")

    return names, draw


def _solve(rising: Any, low: float, high: float) -> float:
    """Where a rising function is zero, by halving; the nearer end where it is zero nowhere."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return high


def make(path: Path, n_cells: int, shared: Path) -> dict[str, Any]:
    import scipy.sparse as sp
    from anndata import AnnData

    names, word, blocks = cell_blocks(n_cells, EXPRESSED, shared)
    adata = AnnData(sp.vstack(list(blocks), format="csr"))
    adata.var_names = names
    adata.obs_names = [f"cell{i}" for i in range(n_cells)]
    adata.write_h5ad(path)
    return {"source": word, "genes": adata.n_vars, "expressed": round(adata.X.nnz / n_cells)}


def scfm(adata: AnnData) -> None:
    from scfm_scverse import tl

    tl.embed(adata)


def scanpy(adata: AnnData) -> None:
    import scanpy as sc

    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    sc.pp.highly_variable_genes(adata, n_top_genes=2000, flavor="seurat")
    sc.pp.pca(adata, n_comps=50, mask_var="highly_variable")


WAYS = {"scfm": scfm, "scanpy": scanpy}


def measure(path: Path, way: str) -> dict[str, float]:
    """Time one way on all cells, in this process."""
    import anndata

    adata = anndata.read_h5ad(path)
    WAYS[way](adata[:WARM_UP].copy())
    loaded = peak_mb()
    wall, cpu = time.perf_counter(), time.process_time()
    WAYS[way](adata)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"seconds": wall, "cpu_seconds": cpu, "cells_per_s": adata.n_obs / wall, "loaded": loaded, "peak": peak_mb()}


def peak_mb() -> float:
    """Largest memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024)


def in_process(script: str, *arguments: object) -> dict[str, Any]:
    """Run one step of a benchmark in a process of its own, and return what it printed last.

    The caller must be small itself: on Linux a process starts with the peak of the one that started it.
    """
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-W", "ignore", script, "--step", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def save(name: str, results: dict[str, Any]) -> None:
    out = ROOT / "benchmarks" / "results" / f"{name}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out.relative_to(ROOT)}")


def machine() -> dict[str, Any]:
    """What the numbers were measured on, and how busy it was."""
    return {"cpus": os.cpu_count(), "load_average": [round(load, 2) for load in os.getloadavg()]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cells.h5ad"
        results = {"cells": options.cells, **machine()}
        results |= in_process(__file__, "make", path, options.cells, options.shared)
        print(f"{options.cells:,} x {results['genes']:,}, {results['expressed']:,} genes a cell: {results['source']}")
        runs: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
        for _ in range(REPEATS):
            for way, found in runs.items():
                found.append(in_process(__file__, "measure", path, way))
    print(f"{'way':8s} {'cells/s':>10s} {'seconds':>9s} {'CPU s':>7s} {'peak MB':>9s} {'of it data, libraries':>23s}")
    for way, found in runs.items():
        row = {key: round(median(run[key] for run in found), 2) for key in found[0]}
        results[way] = {**row, "all_seconds": [round(run["seconds"], 2) for run in found]}
        print(
            f"{way:8s} {row['cells_per_s']:>10,.0f} {row['seconds']:>9.2f} {row['cpu_seconds']:>7.2f} "
            f"{row['peak']:>9,.0f} {row['loaded']:>23,.0f}"
        )
    save("embed", {**results, "load_average_after": machine()["load_average"]})


def step(name: str, path: str, *rest: str) -> dict[str, Any]:
    if name == "make":
        return make(Path(path), int(rest[0]), Path(rest[1]))
    return measure(Path(path), rest[0])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
