"""Peak memory of ``tl.embed`` on a backed file: 20,000 cells beside 200,000.

    python benchmarks/memory.py [--shared ../shared] [--folder DIR]

The files (20,000 genes, about 1,500 expressed a cell, CSR, not compressed; 2.4 GB the larger) are written in parts to a
temporary folder. Every run is a process of its own. Writes ``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from embed import EXPRESSED, ROOT, cell_blocks, in_process, machine, peak_mb, save

SIZES = (20_000, 200_000)
LIMIT_MB = 500


def make(path: Path, n_cells: int, shared: Path) -> dict[str, Any]:
    """Write an h5ad part by part, so that a small machine can make a large file."""
    import h5py
    import numpy as np
    import pandas as pd
    from anndata import AnnData

    names, word, blocks = cell_blocks(n_cells, EXPRESSED, shared)
    obs = pd.DataFrame(index=[f"cell{i}" for i in range(n_cells)])
    AnnData(None, obs=obs, var=pd.DataFrame(index=names)).write_h5ad(path)
    with h5py.File(path, "r+") as file:
        if "X" in file:
            del file["X"]
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": (n_cells, len(names))})
        for name, dtype in (("data", np.float32), ("indices", np.int32), ("indptr", np.int64)):
            group.create_dataset(name, shape=(0,), maxshape=(None,), chunks=(2**18,), dtype=dtype)
        _append(group["indptr"], np.zeros(1))
        for block in blocks:
            _append(group["indptr"], block.indptr[1:] + len(group["data"]))
            _append(group["data"], block.data)
            _append(group["indices"], block.indices)
        return {"source": word, "genes": len(names), "expressed": round(len(group["data"]) / n_cells)}


def _append(dataset: Any, values: Any) -> None:
    dataset.resize((len(dataset) + len(values),))
    dataset[len(dataset) - len(values) :] = values


def measure(path: Path) -> dict[str, float]:
    from scfm_scverse import tl
    from scfm_scverse.io.files import read_adata

    adata = read_adata(path, backed=True)
    started = time.perf_counter()
    tl.embed(adata)
    seconds = time.perf_counter() - started
    return {"peak_mb": round(peak_mb()), "seconds": round(seconds, 1), "result_mb": adata.obsm["X_scfm"].nbytes / 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--folder", type=Path, help="where the files are made; the system's own otherwise")
    options = parser.parse_args()
    results: dict[str, Any] = machine()
    print(f"{'cells':>9s} {'file MB':>9s} {'peak MB':>9s} {'of it result':>13s} {'seconds':>9s}")
    for n_cells in SIZES:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "cells.h5ad"
            row = in_process(__file__, "make", path, n_cells, options.shared)
            row |= {"file_mb": round(path.stat().st_size / 1e6)} | in_process(__file__, "measure", path)
        results[str(n_cells)] = row
        numbers = f"{row['peak_mb']:>9,} {row['result_mb']:>13,.0f} {row['seconds']:>9.1f}"
        print(f"{n_cells:>9,} {row['file_mb']:>9,} {numbers}", flush=True)
    small, large = (results[str(n_cells)]["peak_mb"] for n_cells in SIZES)
    results["difference_mb"] = large - small
    print(f"difference {large - small:,} MB; the limit is {LIMIT_MB} MB")
    save("memory", results)
    if large - small >= LIMIT_MB:
        raise SystemExit(1)


def step(name: str, path: str, *rest: str) -> dict[str, Any]:
    return make(Path(path), int(rest[0]), Path(rest[1])) if name == "make" else measure(Path(path))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(step(*sys.argv[2:])))
    else:
        main()
