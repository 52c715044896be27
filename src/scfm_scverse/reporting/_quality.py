"""How deep and how clean each cell was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..genes import GeneMatch, load_gene_table
from ..get._evidence import matrix_of
from ..io.blocks import iter_blocks
from ..io.counts import Values
from ..tokens.blocks import to_linear

if TYPE_CHECKING:
    from anndata import AnnData

MITOCHONDRIAL = "MT-"  # how the symbols of the genes on the mitochondrial chromosome begin


@dataclass(frozen=True)
class Quality:
    """Of each cell: sum of its values, genes above zero, share of the values on mitochondrial genes, [n].

    ``total`` is None where the values are normalised, ``mitochondrial`` where no such gene was measured.
    """

    values: Values
    match: GeneMatch
    total: NDArray[np.float64] | None
    n_genes: NDArray[np.int64]
    mitochondrial: NDArray[np.float64] | None


def quality_of(adata: AnnData, key: str) -> Quality:
    """Read the matrix that an annotation was made from, block by block."""
    values, match = matrix_of(adata, key)
    symbol = np.append(load_gene_table().symbol, "")
    names = [name.upper() for name in match.names]
    mitochondrial = np.char.startswith(symbol[match.rows].astype(str), MITOCHONDRIAL)
    mitochondrial |= np.char.startswith(names, MITOCHONDRIAL)
    total, on_mitochondrial = np.zeros(adata.n_obs), np.zeros(adata.n_obs)
    n_genes = np.zeros(adata.n_obs, np.int64)
    for start, block in iter_blocks(values.matrix, names=adata.obs_names, genes=values.var.index):
        rows = slice(start, start + block.shape[0])
        n_genes[rows] = block.astype(bool) @ match.is_gene.astype(np.int64)
        block.data = to_linear(block.data, values.base)
        total[rows] = block @ match.is_gene.astype(np.float64)
        on_mitochondrial[rows] = block @ mitochondrial.astype(np.float64)
    share = np.divide(on_mitochondrial, total, out=np.full(adata.n_obs, np.nan), where=total > 0)
    return Quality(
        values=values,
        match=match,
        total=total if values.kind != "log" else None,
        n_genes=n_genes,
        mitochondrial=share if mitochondrial.any() else None,
    )
