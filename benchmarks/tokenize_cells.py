"""Cells a second on one core of each tokeniser, beside a loop over cells in NumPy that follows the same rule.

    python benchmarks/tokenize_cells.py [--cells 4000] [--shared ../shared]

Counts as in ``embed.py``, about 1,000 expressed genes of 20,000 a cell, and made-up medians. The loops take the columns
for the vocabulary and do nothing but the rule; for the tokenisers the columns stand in another order than the
vocabulary, which lacks a tenth of them, and columns of one gene are looked for. CPU time of one thread, best of five
runs in turns after a run on 100 cells. Writes ``benchmarks/results/tokenize.json``.

Called so because a script named after a module of the standard library would hide that from its neighbours.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embed import ROOT, cell_blocks, in_process, machine, save

if TYPE_CHECKING:
    import numpy as np
    import scipy.sparse as sp

EXPRESSED = 1_000
REPEATS = 5
N_VOCABULARY = 25_426


def rows_of(block: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Genes and values of each cell."""
    for start, stop in zip(block.indptr[:-1], block.indptr[1:], strict=True):
        yield block.indices[start:stop], block.data[start:stop]


def loop_bins(block: sp.csr_matrix) -> list[Any]:
    import numpy as np

    rng, shares, out = np.random.default_rng(0), np.linspace(0, 1, 50), []
    for _, values in rows_of(block):
        edges = np.quantile(values, shares)
        left, right = np.digitize(values, edges), np.digitize(values, edges, right=True)
        out.append(np.ceil(rng.random(len(values)) * (right - left) + left))
    return out


def loop_ranks(block: sp.csr_matrix, medians: np.ndarray, context: int) -> list[Any]:
    import numpy as np

    out = []
    for genes, values in rows_of(block):
        order = np.argsort(-(values / values.sum() * 1e4 / medians[genes]), kind="stable")
        out.append(genes[order][:context])
    return out


def loop_logs(block: sp.csr_matrix) -> list[Any]:
    import numpy as np

    return [np.log1p(values * (np.float32(1e4) / values.sum())) for _, values in rows_of(block)]


def loop_levels(block: sp.csr_matrix) -> list[Any]:
    import numpy as np

    return [
        np.minimum(np.log2(1 + values * (np.float32(1e4) / values.sum())), 5).astype(np.int8)
        for _, values in rows_of(block)
    ]


def pairs(n_columns: int) -> dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """The tokeniser and the loop of each rule."""
    import numpy as np

    from scfm_scverse.tokens import LogValues
    from scfm_scverse.tokens.bins import Bins
    from scfm_scverse.tokens.levels import Levels
    from scfm_scverse.tokens.ranks import Ranks
    from scfm_scverse.tokens.read_depth import ReadDepth, TargetDepth

    rng = np.random.default_rng(0)
    columns = rng.permutation(N_VOCABULARY)[:n_columns].astype(np.int32)
    columns[rng.random(n_columns) < 0.1] = -1
    medians = rng.lognormal(0.5, 1, N_VOCABULARY)
    every, n = np.arange(N_VOCABULARY, dtype=np.int32), N_VOCABULARY
    return {
        "Bins": (Bins(columns, n, n - 1, -2.0), loop_bins),
        "Ranks V1": (Ranks(columns, every, medians, n, 2048), lambda block: loop_ranks(block, medians, 2048)),
        "Ranks V2": (
            Ranks(columns, every, medians, n, 4096, around=(2, 3)),
            lambda block: loop_ranks(block, medians, 4094),
        ),
        "ReadDepth": (ReadDepth(columns, n, TargetDepth("t", 4)), loop_logs),
        "Levels": (Levels(columns, n), loop_levels),
        "LogValues": (LogValues(columns, columns >= 0, n), loop_logs),
    }


def measure(n_cells: int, shared: Path) -> dict[str, Any]:
    import scipy.sparse as sp

    names, word, blocks = cell_blocks(n_cells, EXPRESSED, shared)
    cells = sp.vstack(list(blocks), format="csr")
    found: dict[str, Any] = {"cells": n_cells, "source": word, "expressed": round(cells.nnz / n_cells), "rules": {}}
    for rule, ways in pairs(len(names)).items():
        seconds: list[list[float]] = [[], []]
        for way in ways:
            way(cells[:100])
        for _ in range(REPEATS):
            for way, times in zip(ways, seconds, strict=True):
                start = time.process_time()
                way(cells)
                times.append(time.process_time() - start)
        ours, loop = (n_cells / min(times) for times in seconds)
        found["rules"][rule] = {"cells_per_s": round(ours), "loop_cells_per_s": round(loop), "ratio": ours / loop}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=int, default=4_000)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    options = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    results = {**in_process(__file__, options.cells, options.shared), **machine()}
    print(f"{results['cells']:,} cells, {results['expressed']:,} expressed genes each: {results['source']}")
    for rule, row in results["rules"].items():
        print(f"{rule:10s} {row['cells_per_s']:>10,} loop {row['loop_cells_per_s']:>10,} {row['ratio']:>6.1f} x")
    save("tokenize", results)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        print(json.dumps(measure(int(sys.argv[2]), Path(sys.argv[3]))))
    else:
        main()
