"""Cosines between what a network says of edited copies of cells and of the cells themselves. Torch tensors only."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from ..models import GeneRows


def cell_shifts(copies: Tensor, cells: Tensor, of: Tensor, states: Tensor | None) -> Tensor:
    """Cosine of each copy to its cell, or the change of its cosine to each state.

    Parameters
    ----------
    copies, cells
        [b, d] and [n, d]: vectors of the copies and of the cells.
    of
        int64 [b]: cell of each copy.
    states
        [s, d], or nothing.

    Returns
    -------
    [b], or [b, s] with states.
    """
    if states is None:
        return cosine_similarity(copies, cells[of])
    return _to_states(copies, states) - _to_states(cells, states)[of]


def _to_states(vectors: Tensor, states: Tensor) -> Tensor:
    return torch.stack([cosine_similarity(vectors, state[None]) for state in states], dim=1)


def gene_shifts(copies: GeneRows, cells: GeneRows, of: Tensor, perturbed: Tensor) -> GeneRows:
    """Cosine of each gene's vector in a copy to its vector in the cell, for genes in both that were not perturbed.

    Parameters
    ----------
    copies, cells
        Vectors of genes in the copies [b] and in the cells [n].
    of
        int64 [b]: cell of each copy.
    perturbed
        int64 [b, k]: genes that were perturbed in each copy.
    """
    most = int(torch.cat([copies.gene, cells.gene]).max()) + 1 if len(cells.gene) else 1
    key, order = (cells.cell * most + cells.gene).sort()
    asked = of[copies.cell] * most + copies.gene
    at = torch.searchsorted(key, asked).clamp(max=len(key) - 1)
    kept = (key[at] == asked) & ~(copies.gene[:, None] == perturbed[copies.cell]).any(dim=1)
    values = cosine_similarity(copies.values[kept], cells.values[order[at[kept]]])
    return GeneRows(copies.cell[kept], copies.gene[kept], values)


def mean_of_genes(genes: GeneRows, n: int) -> Tensor:
    """Mean of each copy's numbers [n], NaN where it has none."""
    total = torch.zeros(n, device=genes.values.device).index_add_(0, genes.cell, genes.values)
    return total / torch.bincount(genes.cell, minlength=n)


def displaced(genes: GeneRows) -> GeneRows:
    """Give each number the name of the next gene of the copy, the last one none: how the original names them."""
    same = genes.cell[1:] == genes.cell[:-1]
    return GeneRows(genes.cell[:-1][same], genes.gene[1:][same], genes.values[:-1][same])
