"""Cosines between what a network says of edited copies of cells and of the cells themselves. Torch tensors only."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..models import GeneRows


def cell_similarity(copies: Tensor, cells: Tensor, of: Tensor) -> Tensor:
    """Cosine of each copy [b, d] to its cell, ``cells[of]`` of [n, d]: [b]."""
    return _cosine(copies, cells[of])


def state_shifts(copies: Tensor, cells: Tensor, of: Tensor, states: Tensor) -> Tensor:
    """Change of the cosine to each state [s, d] from each copy's cell to the copy: [b, s]."""
    moved = normalize(copies.float()) - normalize(cells.float())[of]
    return moved @ normalize(states.float()).T


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of each row with a row, exactly 1 for equal ones: most are so near 1 that a plain sum would blur them."""
    return 1 - (normalize(one.float()) - normalize(other.float())).square().sum(dim=1) / 2


@dataclass(frozen=True)
class SharedGenes:
    """Genes that a copy and its cell both have and that were not perturbed.

    Attributes
    ----------
    cell, gene
        int64 [k]: which copy, which gene.
    edited, original
        What is told of the gene in the copy and in the cell, [k] or [k, d].
    """

    cell: Tensor
    gene: Tensor
    edited: Tensor
    original: Tensor


def shared_genes(copies: GeneRows, cells: GeneRows, of: Tensor, perturbed: Tensor) -> SharedGenes:
    """Find what is told of each gene in a copy and in its cell, for genes in both that were not perturbed.

    Parameters
    ----------
    copies, cells
        What is told of genes in the copies [b] and in the cells [n].
    of
        int64 [b]: cell of each copy.
    perturbed
        int64 [b, k]: genes that were perturbed in each copy.
    """
    at, found = _places(copies, cells, of)
    kept = found & ~(copies.gene[:, None] == perturbed[copies.cell]).any(dim=1)
    return SharedGenes(copies.cell[kept], copies.gene[kept], copies.values[kept], cells.values[at[kept]])


def _places(copies: GeneRows, cells: GeneRows, of: Tensor) -> tuple[Tensor, Tensor]:
    """Row of ``cells`` for each row of ``copies``, and whether there is one, both [k]."""
    n_genes = len(copies.gene) // max(1, len(of))
    panel = copies.gene[:n_genes]
    if all(torch.equal(rows.gene, panel.repeat(len(rows.gene) // max(1, n_genes))) for rows in (copies, cells)):
        # Every cell tells of the same genes in the same order, so that nothing needs to be looked for.
        at = (of[:, None] * n_genes + torch.arange(n_genes, device=of.device)).flatten()
        return at, torch.ones_like(at, dtype=torch.bool)
    most = int(torch.cat([copies.gene, cells.gene]).max()) + 1 if len(cells.gene) else 1
    key, order = (cells.cell * most + cells.gene).sort()
    asked = of[copies.cell] * most + copies.gene
    place = torch.searchsorted(key, asked).clamp(max=len(key) - 1)
    return order[place], key[place] == asked


def gene_shifts(copies: GeneRows, cells: GeneRows, of: Tensor, perturbed: Tensor) -> GeneRows:
    """Cosine of each gene's vector in a copy to its vector in the cell; arguments as of :func:`shared_genes`."""
    both = shared_genes(copies, cells, of, perturbed)
    return GeneRows(both.cell, both.gene, _cosine(both.edited, both.original))


def expression_changes(copies: GeneRows, cells: GeneRows, of: Tensor, perturbed: Tensor) -> GeneRows:
    """Change of each gene's predicted expression; arguments as of :func:`shared_genes`."""
    both = shared_genes(copies, cells, of, perturbed)
    return GeneRows(both.cell, both.gene, both.edited.float() - both.original.float())


def mean_of_genes(genes: GeneRows, n: int) -> Tensor:
    """Mean of each copy's numbers [n], NaN where it has none."""
    total = torch.zeros(n, device=genes.values.device).index_add_(0, genes.cell, genes.values)
    return total / torch.bincount(genes.cell, minlength=n)


def displaced(genes: GeneRows) -> GeneRows:
    """Give each number the name of the next gene of the copy, the last one none: how the original names them."""
    same = genes.cell[1:] == genes.cell[:-1]
    return GeneRows(genes.cell[:-1][same], genes.gene[1:][same], genes.values[:-1][same])
