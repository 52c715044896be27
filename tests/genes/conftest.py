"""What the gene tests share: the names of the real cell sets with the sum of each gene's values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from scfm_scverse.genes import GeneMatch, resolve_genes

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class CellSet:
    """One real cell set, without its cells."""

    name: str
    var: pd.DataFrame
    totals: np.ndarray

    @property
    def names(self) -> list[str]:
        return self.var.index.tolist()

    @cached_property
    def match(self) -> GeneMatch:
        return resolve_genes(self.names)

    def shares(self, found: np.ndarray) -> tuple[float, float]:
        """Share of genes and of counts."""
        return float(found.mean()), float(self.totals[found].sum() / self.totals.sum())


@pytest.fixture(scope="session")
def cell_sets(shared: Path, read_cells: Callable[[str], AnnData]) -> dict[str, CellSet]:
    sets = {}
    for path in sorted((shared / "data" / "cells").glob("*.cells")):
        adata = read_cells(path.stem)
        totals = np.asarray(adata.X.sum(axis=0), dtype=np.float64).ravel()
        sets[path.stem] = CellSet(path.stem, adata.var, totals)
    return sets


@pytest.fixture(scope="session")
def symbol_fixes(shared: Path) -> pd.DataFrame:
    """Names seen in the wild with the symbols that another project gives them, where that project sees no doubt."""
    fixes = pd.read_csv(
        shared / "data" / "genes" / "human_symbol_fixes.tsv.gz", sep="\t", dtype=str, keep_default_na=False
    )
    return fixes[(fixes[["excel_date", "ambiguous", "seen_is_approved_symbol"]] == "False").all(axis=1)]


@pytest.fixture(scope="session")
def excel_dates(shared: Path) -> pd.Series:
    """Each spreadsheet date with the set of symbols that another project gives it."""
    dates = pd.read_csv(shared / "data" / "genes" / "excel_dates_human.tsv", sep="\t", dtype=str)
    return dates.groupby("seen")["approved"].agg(set)
