"""How many genes and counts of real data sets find their gene, beside exact matching of symbols.

    python benchmarks/gene_coverage.py [--shared ../shared]

Writes ``benchmarks/results/gene_coverage.json``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scfm_scverse.genes import load_gene_table, names_and_hints, resolve_genes

if TYPE_CHECKING:
    from anndata import AnnData

ROOT = Path(__file__).resolve().parents[1]


def exact_match(names: Sequence[str]) -> np.ndarray:
    """Whether a name is an approved human symbol or a human Ensembl id: what matching by equality finds [g]."""
    table = load_gene_table()
    known = set(table.row_of_symbol) | set(table.ensembl)
    return np.array([name in known for name in names], dtype=bool)


def measure(adata: AnnData) -> dict[str, object]:
    """Shares of genes and counts found by exact matching, by ours from names alone, and by ours with the hints."""
    totals = np.asarray(adata.X.sum(axis=0), dtype=np.float64).ravel()
    names = [str(name) for name in adata.var_names]
    hinted_names, ids = names_and_hints(adata.var)
    match = resolve_genes(names)
    found = {
        "exact": exact_match(names),
        "ours": match.rows >= 0,
        "hinted": resolve_genes(hinted_names, ids=ids).rows >= 0,
    }
    row: dict[str, object] = {"organism": match.organism, "n_genes": len(names), "n_ambiguous": len(match.ambiguous)}
    for way, hits in found.items():
        row[f"genes_{way}"] = round(float(hits.mean()), 4)
        row[f"counts_{way}"] = round(float(totals[hits].sum() / totals.sum()), 4)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    shared = parser.parse_args().shared
    sys.path.insert(0, str(shared / "tools"))
    from cells import read_cells

    columns = [f"{what}_{way}" for what in ("genes", "counts") for way in ("exact", "ours", "hinted")]
    print(f"{'file':34s} {'organism':8s} {'genes':>7s} " + " ".join(f"{column:>13s}" for column in columns))
    results = {}
    for path in sorted((shared / "data" / "cells").glob("*.cells")):
        row = results[path.stem] = measure(read_cells(path))
        shares = " ".join(f"{row[column]:>13.1%}" for column in columns)
        print(f"{path.stem:34s} {row['organism']:8s} {row['n_genes']:>7,} {shares}", flush=True)
    out = ROOT / "benchmarks" / "results" / "gene_coverage.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    print(f"wrote {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
