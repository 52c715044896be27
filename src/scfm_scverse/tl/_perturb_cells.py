"""The cells that one perturbation changes: which they are, and what a model says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._query import Query
from ..io.blocks import iter_blocks, take_rows
from ..models import CellModel, Wanted
from ..perturbation import Copies, Kind, Pairs, copies_of, stream_pairs
from ._perturbation import edits_of

if TYPE_CHECKING:
    from anndata import AnnData

CELLS_AT_ONCE = 2048  # affected cells that are read and tokenised together
MINIBATCH = 256  # cells whose expression, of all genes, is in memory together


@dataclass(frozen=True)
class PerturbedCells:
    """One perturbation of the cells of a query.

    Attributes
    ----------
    query, model
        What is read, and by which model.
    genes
        int32 [k]: positions in the vocabulary.
    kind, dose
        What happens to them.
    totals
        Total counts of the cells [n], for a model that reads them.
    """

    query: Query
    model: CellModel
    genes: NDArray[np.int32]
    kind: Kind
    dose: float
    totals: NDArray[np.float64] | None

    def find(self, adata: AnnData) -> NDArray[np.int64]:
        """Positions of the cells that the perturbation changes, ascending."""
        found = []
        for first, block in iter_blocks(
            self.query.values.matrix, names=adata.obs_names, genes=self.query.values.var.index
        ):
            rows = np.arange(first, first + block.shape[0])
            edits = edits_of(self.model, self.query, block, self.kind, self._totals(rows))
            cells = copies_of(edits.held, self.genes, self.kind, any_of=not self._of_authors).cell
            found.append(rows[cells[edits.tokens.lengths[cells] > 0]])
        return np.concatenate(found)

    def run(
        self,
        cells: NDArray[np.int64],
        want: Wanted,
        *,
        device: str,
        dtype: Any,
        batch_size: int | None,
        advance: Callable[[int], object] = lambda _: None,
    ) -> Iterator[tuple[NDArray[np.int64], Pairs]]:
        """Yield what the model says of changed cells and of the cells as they are, and which cells they are."""
        if "expression" in want.outputs:
            batch_size = min(batch_size or MINIBATCH, MINIBATCH)
        for start in range(0, len(cells), CELLS_AT_ONCE):
            rows = cells[start : start + CELLS_AT_ONCE]
            block = take_rows(self.query.values.matrix, rows)
            edits = edits_of(self.model, self.query, block, self.kind, self._totals(rows))
            genes = np.tile(self.genes, (len(rows), 1))
            copies = Copies(self.kind, np.arange(len(rows)), genes, each=False, dose=self.dose)
            stream = stream_pairs(
                self.model,
                edits,
                copies,
                want,
                device=device,
                dtype=dtype,
                batch_size=batch_size,
                advance=advance,
            )
            for pairs in stream:
                yield rows[copies.cell[pairs.copy]], pairs

    @property
    def _of_authors(self) -> bool:
        """Whether the authors say which cells are changed: those that hold all of the genes."""
        return self.model.spec.edits_tokens and self.kind == "delete"

    def _totals(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        return None if self.totals is None else self.totals[rows]
