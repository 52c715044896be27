"""What an objective gets of the data at one step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..tokens import Tokens
from .draws import uniform

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """A minibatch of ``b`` cells, ``t`` tokens in all.

    Attributes
    ----------
    tokens
        Tokens of the cells, one at least in each.
    cells
        int64 [b]: which cells of the data set they are.
    draw
        Number that all random choices of an objective come from: another one in every epoch, the same in every
        validation.
    labels
        int64 [b]: class of each cell, -1 where it is not known.
    batches
        int64 [b]: batch of each cell.
    """

    tokens: Tokens
    cells: NDArray[np.int64]
    draw: int
    labels: Tensor | None = None
    batches: Tensor | None = None

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def cell_of_token(self) -> NDArray[np.int64]:
        """Position in the minibatch of each token's cell, [t]."""
        return np.repeat(np.arange(len(self)), self.tokens.lengths)

    def uniform(self, purpose: int) -> NDArray[np.float64]:
        """Draw a number below 1 for each token [t]; it depends on draw, purpose, cell and gene, on nothing else."""
        return uniform(self.draw, purpose, self.cells[self.cell_of_token], self.tokens.ids)

    def uniform_of_cells(self, purpose: int) -> NDArray[np.float64]:
        """Draw a number below 1 for each cell [b]."""
        return uniform(self.draw, purpose, self.cells)
