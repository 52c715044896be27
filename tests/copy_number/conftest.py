"""Numbers of a simulated tumour, as the numerics take them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest
import scipy.sparse as sp

from scfm_scverse.copy_number import CopyNumber, measure_copy_number
from scfm_scverse.genes import load_gene_table
from support import simulated_tumour


@dataclass(frozen=True)
class Simulated:
    """Log values in the order along the chromosomes, and who is what."""

    values: sp.csr_matrix
    chromosome: np.ndarray
    start: np.ndarray
    donor: np.ndarray
    kind: np.ndarray

    def read(self, block_size: int = 50) -> Callable[[], Iterator[tuple[int, sp.csr_matrix]]]:
        size = self.values.shape[0]
        return lambda: ((at, self.values[at : at + block_size]) for at in range(0, size, block_size))

    def measure(self, normal: np.ndarray, candidate: np.ndarray, block_size: int = 50) -> CopyNumber:
        places = self.chromosome, self.start, self.donor
        return measure_copy_number(self.read(block_size), *places, normal, candidate)


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulated]:
    """Make such numbers; the arguments are those of ``simulated_tumour``."""

    def make(**how: float) -> Simulated:
        adata = simulated_tumour(**how)
        table = load_gene_table()
        rows = [table.row_of_symbol[name] for name in adata.var_names]
        total = np.asarray(adata.X.sum(axis=1)).ravel()
        values = sp.csr_matrix(sp.diags_array(1e4 / total) @ adata.X, dtype=np.float32).log1p()
        return Simulated(
            values=values,
            chromosome=np.array([int(name[3:]) for name in table.chromosome[rows]]),
            start=table.start[rows],
            donor=np.unique(adata.obs["donor"], return_inverse=True)[1],
            kind=adata.obs["kind"].to_numpy(str),
        )

    return make
