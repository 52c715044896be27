"""Minibatches for training from memory and from disk: cells a second and memory, beside other loaders.

    python benchmarks/training_data.py [--cells 50000] [--shared ../shared] [--python PYTHON]

Counts as in ``embed.py``, written by anndata as h5ad and as zarr with its own choice of chunks. Every way makes
shuffled minibatches of 64 cells for ``SECONDS``, in a process of its own, after some that are not counted. Ours are
tokens (scGPT's bins, or logarithms for scfm-mini); those of scvi-tools are dense or torch's sparse CSR, and those of
scDataset are rows of CSR, from blocks of 64 cells, 64 minibatches at a time, which is what ours read. ``waited`` is the
share of the time that a step of ``STEP`` seconds on one core waits for its minibatch. Files are in the cache of the
system. ``--python`` is one that has scDataset (0.3.0); without it, that way is left out. Writes
``benchmarks/results/training_data.json``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import ROOT, cell_blocks, in_process, machine, peak_mb, save

if TYPE_CHECKING:
    from anndata import AnnData

EXPRESSED = 1_500
SIZE, BLOCK = 64, 64
SECONDS, STEP, WARM_UP = 4.0, 0.05, 5
WAYS = [
    ("bins", "memory"),
    ("bins", "h5ad"),
    ("bins", "zarr"),
    ("logarithms", "memory"),
    ("logarithms", "h5ad"),
    ("logarithms", "zarr"),
    ("scvi dense", "memory"),
    ("scvi sparse", "memory"),
    ("scvi dense", "h5ad"),
    ("scDataset", "memory"),
    ("scDataset", "h5ad"),
    ("scDataset", "zarr"),
]


def make(folder: Path, n_cells: int, shared: Path) -> dict[str, Any]:
    import scipy.sparse as sp
    from anndata import AnnData

    names, word, blocks = cell_blocks(n_cells, EXPRESSED, shared)
    adata = AnnData(sp.vstack(list(blocks), format="csr"))
    adata.var_names, adata.obs_names = names, [f"cell{i}" for i in range(n_cells)]
    adata.write_h5ad(folder / "cells.h5ad")
    adata.write_zarr(folder / "cells.zarr")
    return {"source": word, "genes": adata.n_vars, "expressed": round(adata.X.nnz / n_cells)}


def stored(folder: Path, where: str) -> AnnData:
    import anndata

    if where == "zarr":
        import zarr

        group = zarr.open_group(str(folder / "cells.zarr"), mode="r")
        var = anndata.io.read_elem(group["var"])
        return anndata.AnnData(anndata.io.sparse_dataset(group["X"]), var=var)
    return anndata.read_h5ad(folder / "cells.h5ad", backed="r" if where == "h5ad" else None)


def ours(adata: AnnData, rule: str) -> Iterable[Any]:
    import numpy as np

    from scfm_scverse.tokens import LogValues
    from scfm_scverse.tokens.bins import Bins
    from scfm_scverse.training.cells import Cells, Minibatches

    columns, n = np.arange(adata.n_vars, dtype=np.int32), adata.n_vars + 1
    tokenize: Any = Bins(columns, n, n - 1, -2.0) if rule == "bins" else LogValues(columns, columns >= 0, n)
    return Minibatches(Cells(adata.X, tokenize), np.arange(adata.n_obs), batch_size=SIZE)


def scvi(adata: AnnData, rule: str) -> Iterable[Any]:
    from scvi.dataloaders import AnnDataLoader
    from scvi.model import SCVI

    SCVI.setup_anndata(adata)
    manager = SCVI._get_most_recent_anndata_manager(adata)
    return AnnDataLoader(manager, batch_size=SIZE, shuffle=True, load_sparse_tensor=rule == "scvi sparse")


def scdataset(adata: AnnData, _: str) -> Iterable[Any]:
    from scdataset import BlockShuffling, scDataset
    from torch.utils.data import DataLoader

    class Rows:
        """A matrix that has a length."""

        def __len__(self) -> int:
            return adata.n_obs

        def __getitem__(self, rows: Any) -> Any:
            return adata.X[rows]

    data = scDataset(Rows(), BlockShuffling(block_size=BLOCK), batch_size=SIZE, fetch_factor=SIZE)
    return DataLoader(data, batch_size=None)


LOADERS: dict[str, Callable[[AnnData, str], Iterable[Any]]] = {"scvi": scvi, "scDataset": scdataset}


def epochs(loader: Iterable[Any]) -> Iterator[Any]:
    for one in cycle([loader]):
        yield from one


def measure(folder: Path, rule: str, where: str) -> dict[str, float]:
    adata = stored(folder, where)
    loader = epochs(LOADERS.get(rule.partition(" ")[0], ours)(adata, rule))
    for _ in range(WARM_UP):
        next(loader)
    wall, cpu, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < SECONDS:
        next(loader)
        n += 1
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    found = {"cells_per_s": n * SIZE / wall, "cpu_ms_per_cell": 1000 * cpu / (n * SIZE)}
    return found | {"waited": waited(loader), "peak": peak_mb()}


def waited(loader: Iterator[Any]) -> float:
    """Share of the time that steps of a network wait."""
    import torch

    at_work, waiting, matrix = 0.0, 0.0, torch.randn(256, 256)
    while at_work + waiting < SECONDS / 2:
        start = time.perf_counter()
        next(loader)
        ready = time.perf_counter()
        while time.perf_counter() - ready < STEP:
            matrix @ matrix
        waiting, at_work = waiting + ready - start, at_work + time.perf_counter() - ready
    return waiting / (at_work + waiting)


def with_python(python: str, *arguments: object) -> dict[str, Any]:
    """Like ``in_process``, by another interpreter."""
    command = [python, "-W", "ignore", __file__, "--step", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=50_000)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--python")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory() as folder:
        results: dict[str, Any] = {"cells": options.cells, "minibatch": SIZE, "step": STEP, **machine()}
        results |= in_process(__file__, "make", folder, options.cells, options.shared)
        print(f"{options.cells:,} x {results['genes']:,}, {results['expressed']:,} genes a cell: {results['source']}")
        print(f"{'way':22s} {'cells/s':>10s} {'CPU ms a cell':>14s} {'waited':>7s} {'peak MB':>9s}")
        for rule, where in WAYS:
            if rule == "scDataset" and options.python is None:
                continue
            run = with_python if rule == "scDataset" else in_process
            first = options.python if rule == "scDataset" else __file__
            row = results[f"{rule}, {where}"] = run(first, "measure", folder, rule, where)
            print(
                f"{rule + ', ' + where:22s} {row['cells_per_s']:>10,.0f} {row['cpu_ms_per_cell']:>14.3f} "
                f"{row['waited']:>7.1%} {row['peak']:>9,.0f}",
                flush=True,
            )
    save("training_data", {**results, "load_average_after": machine()["load_average"]})


def step(name: str, folder: str, *rest: str) -> dict[str, Any]:
    return make(Path(folder), int(rest[0]), Path(rest[1])) if name == "make" else measure(Path(folder), *rest)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
