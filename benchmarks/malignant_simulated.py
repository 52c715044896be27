"""Gains and losses put into healthy cells, to see tumour cells beside normal ones of the very same types."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from scfm_scverse.genes import load_gene_table, resolve_genes


def simulate_changes(
    adata: AnnData, eligible: NDArray[np.bool_], *, n_changes: int, share: float, random_state: int
) -> tuple[AnnData, NDArray[np.bool_]]:
    """Change the counts of genes on random half chromosomes by a half or one and a half, in some eligible cells.

    Each count is thinned, or grows by half of its molecules, at random. Returns the cells and which were changed.
    """
    rng = np.random.default_rng(random_state)
    table = load_gene_table()
    rows = resolve_genes(adata.var_names.to_numpy(), organism="human").rows
    chromosome = np.where(rows >= 0, table.chromosome[rows].astype(str), "")
    start = np.where(rows >= 0, table.start[rows], 0)
    halves = [(f"chr{number}", arm) for number in range(1, 23) for arm in (False, True)]
    factor = np.ones(adata.n_vars)
    for at in rng.permutation(len(halves))[:n_changes]:
        name, upper = halves[at]
        genes = chromosome == name
        middle = np.median(start[genes])
        factor[genes & ((start > middle) == upper)] = rng.choice([0.5, 1.5])
    cells = rng.permutation(np.flatnonzero(eligible))[: int(share * eligible.sum())]
    changed = np.zeros(adata.n_obs, bool)
    changed[cells] = True
    counts = sp.csr_matrix(adata.X, copy=True)
    owner = np.repeat(changed, np.diff(counts.indptr))
    of = factor[counts.indices]
    whole = np.rint(counts.data).astype(np.int64)
    half = rng.binomial(whole, 0.5)
    counts.data = np.where(owner & (of < 1), half, np.where(owner & (of > 1), whole + half, counts.data)).astype(
        np.float32
    )
    counts.eliminate_zeros()
    out = AnnData(counts, obs=adata.obs[[]].copy(), var=adata.var.copy())
    return out, changed
