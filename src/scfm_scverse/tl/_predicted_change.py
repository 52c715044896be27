"""Predicted changes of expression, kept for some genes only."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import GeneMatchError, InputError
from .._query import positions_of_var
from ..models import CellModel, Wanted
from ..models.base import GeneRows
from ..perturbation import Pairs
from ..tokens.blocks import first_columns

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
    shape
        Cells and genes of the AnnData.
    """

    def __init__(self, columns: NDArray[np.int64], shape: tuple[int, int]) -> None:
        self.columns, self.shape = columns, shape
        self._parts: list[sp.csr_matrix] = []
        self._cells: list[NDArray[np.int64]] = []

    def add(self, cells: NDArray[np.int64], changes: GeneRows) -> None:
        """Keep changes in some cells; ``changes.cell`` counts in ``cells``."""
        row, gene, values = (one.cpu().numpy() for one in (changes.cell, changes.gene, changes.values))
        part = sp.csr_matrix((values, (row, self.columns[gene])), shape=(len(cells), self.shape[1]))
        part.eliminate_zeros()
        self._parts.append(part)
        self._cells.append(cells)

    def matrix(self) -> sp.csr_matrix:
        """Return all that was kept, cells x genes."""
        nothing = sp.csr_matrix((np.zeros(0, np.float32), np.zeros(0, np.int32), [0, 0]), shape=(1, self.shape[1]))
        rows = sp.vstack([*self._parts, nothing], format="csr")
        place = np.full(self.shape[0], rows.shape[0] - 1)
        place[np.concatenate([*self._cells, np.zeros(0, np.int64)])] = np.arange(rows.shape[0] - 1)
        whole: sp.csr_matrix = rows[place]
        return whole


def check_genes_out(genes_out: object, model: CellModel) -> int | list[str]:
    """Return how many genes, or which; 0 where the model decodes no expression."""
    decodes = "expression" in model.spec.outputs
    if isinstance(genes_out, int | np.integer) and not isinstance(genes_out, bool) and genes_out >= 0:
        return int(genes_out) if decodes else 0
    names = None if isinstance(genes_out, str) or not isinstance(genes_out, Iterable) else list(genes_out)
    if names is None or not all(isinstance(name, str) for name in names):
        msg = f"Found genes_out={genes_out!r}; expected how many genes, 0 or more, or a list of their names."
        raise InputError(msg)
    if not decodes:
        msg = f"Found names in genes_out; {model.spec.name} predicts no expression: leave genes_out= out."
        raise InputError(msg)
    return names


def changes_of(pairs: Pairs, genes: NDArray[np.int32], kept: NDArray[np.bool_]) -> GeneRows:
    """Predicted changes in copies of the ``kept`` [v] genes of the vocabulary, those of the perturbed ones left out."""
    import torch

    from ..perturbation.compare import expression_changes

    if pairs.edited.expression is None or pairs.original.expression is None:
        msg = "The model told no expression; expected one that decodes it."
        raise InputError(msg)
    perturbed = torch.from_numpy(np.tile(genes, (len(pairs.copy), 1))).to(pairs.of.device)
    # Most genes are not kept, and to find each in its cell would take longer than the model does.
    edited, original = (_some(rows, kept) for rows in (pairs.edited.expression, pairs.original.expression))
    return expression_changes(edited, original, pairs.of, perturbed)


def _some(rows: GeneRows, kept: NDArray[np.bool_]) -> GeneRows:
    import torch

    chosen = torch.from_numpy(kept).to(rows.gene.device)[rows.gene]
    return GeneRows(rows.cell[chosen], rows.gene[chosen], rows.values[chosen])


def choose_genes(
    adata: AnnData,
    work: PerturbedCells,
    affected: NDArray[np.int64],
    genes_out: int | list[str],
    running: dict[str, Any],
) -> PredictedChange:
    """Choose the genes whose change is kept: those named, or those that change most in a sample of the cells."""
    position = positions_of_var(adata, work.query)
    columns = first_columns(position, len(work.model.spec.genes))
    columns[work.genes] = -1
    if isinstance(genes_out, int):
        total = np.zeros(len(columns))
        spread = affected[np.linspace(0, len(affected) - 1, min(SAMPLE, len(affected))).astype(np.int64)]
        for _, pairs in work.run(spread, Wanted(frozenset({"expression"})), **running):
            changes = changes_of(pairs, work.genes, columns >= 0)
            np.add.at(total, changes.gene.cpu().numpy(), changes.values.abs().cpu().numpy())
        strongest: NDArray[np.integer] = np.argsort(-np.where(columns >= 0, total, -1), kind="stable")[:genes_out]
    else:
        strongest = _named(adata, genes_out, position)
    kept = np.full_like(columns, -1)
    kept[strongest] = columns[strongest]
    return PredictedChange(kept, adata.shape)


def _named(adata: AnnData, names: list[str], position: NDArray[np.int32]) -> NDArray[np.int32]:
    column = adata.var_names.get_indexer_for(names)
    unknown = [name for name, at in zip(names, column.tolist(), strict=False) if at < 0 or position[at] < 0]
    if unknown or len(column) != len(names):
        what = unknown[0] if unknown else names[0]
        msg = (
            f"Found {what!r} in genes_out; expected names that occur once in adata.var_names and that the model knows."
        )
        raise GeneMatchError(msg)
    return np.asarray(position[column])
