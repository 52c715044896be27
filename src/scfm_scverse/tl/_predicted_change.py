"""Predicted changes of expression, kept for some genes only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import GeneMatchError, InputError
from ..models import Wanted
from ..models.base import GeneRows
from ..perturbation import Pairs
from ._query import positions_of_var

if TYPE_CHECKING:
    from anndata import AnnData

    from ._perturb_cells import PerturbedCells

SAMPLE = 256  # cells that tell which genes change most


class PredictedChange:
    """Gathers predicted changes of the expression of some genes.

    Parameters
    ----------
    columns
        int64 [v]: column of ``adata.var`` of each entry of the vocabulary, -1 for genes that are not kept.
    """

    def __init__(self, columns: NDArray[np.int64]) -> None:
        self.columns = columns
        self._parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]] = []

    def add(self, cells: NDArray[np.int64], changes: GeneRows) -> None:
        """Keep changes in some cells; ``changes.cell`` counts in ``cells``."""
        gene, values = changes.gene.cpu().numpy(), changes.values.cpu().numpy()
        kept = (self.columns[gene] >= 0) & (values != 0)
        self._parts.append((cells[changes.cell.cpu().numpy()[kept]], self.columns[gene[kept]], values[kept]))

    def matrix(self, shape: tuple[int, int]) -> sp.csr_matrix:
        """Return all that was kept, cells x genes."""
        row, column, value = (np.concatenate(part) for part in zip(*self._parts, strict=True))
        return sp.csr_matrix((value, (row, column)), shape=shape)


def changes_of(pairs: Pairs, genes: NDArray[np.int32]) -> GeneRows:
    """Predicted changes in copies, those of the perturbed genes left out."""
    import torch

    from ..perturbation.compare import expression_changes

    if pairs.edited.expression is None or pairs.original.expression is None:
        msg = "The model told no expression; expected one that decodes it."
        raise InputError(msg)
    perturbed = torch.from_numpy(np.tile(genes, (len(pairs.copy), 1))).to(pairs.of.device)
    return expression_changes(pairs.edited.expression, pairs.original.expression, pairs.of, perturbed)


def choose_genes(
    adata: AnnData,
    work: PerturbedCells,
    affected: NDArray[np.int64],
    genes_out: int | Sequence[str],
    running: dict[str, Any],
) -> PredictedChange:
    """Choose the genes whose change is kept: those named, or those that change most in a sample of the cells."""
    position = positions_of_var(adata, work.query)
    columns = np.full(len(work.model.spec.genes), -1, np.int64)
    known = np.flatnonzero(position >= 0)[::-1]  # of two columns of one gene the first is kept
    columns[position[known]] = known
    columns[work.genes] = -1
    if isinstance(genes_out, int):
        total = np.zeros(len(columns))
        spread = affected[np.linspace(0, len(affected) - 1, min(SAMPLE, len(affected))).astype(np.int64)]
        for _, pairs in work.run(spread, Wanted(frozenset({"expression"})), **running):
            changes = changes_of(pairs, work.genes)
            np.add.at(total, changes.gene.cpu().numpy(), changes.values.abs().cpu().numpy())
        strongest: NDArray[np.integer] = np.argsort(-np.where(columns >= 0, total, -1), kind="stable")[:genes_out]
    else:
        strongest = _named(adata, genes_out, position)
    kept = np.full_like(columns, -1)
    kept[strongest] = columns[strongest]
    return PredictedChange(kept)


def _named(adata: AnnData, names: Sequence[str], position: NDArray[np.int32]) -> NDArray[np.int32]:
    column = adata.var_names.get_indexer_for(list(names))
    unknown = [name for name, at in zip(names, column.tolist(), strict=False) if at < 0 or position[at] < 0]
    if unknown or len(column) != len(names):
        what = unknown[0] if unknown else names[0]
        msg = (
            f"Found {what!r} in genes_out; expected names that occur once in adata.var_names and that the model knows."
        )
        raise GeneMatchError(msg)
    return np.asarray(position[column])
