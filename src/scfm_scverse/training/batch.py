"""What an objective gets of the data at one step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..tokens import Tokens
from .draws import Purpose, uniform
from .processes import mean_of_all

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
    stands_in
        Whether the cells are only there because a network needs some: then they count in no mean.
    """

    tokens: Tokens
    cells: NDArray[np.int64]
    draw: int
    labels: Tensor | None = None
    batches: Tensor | None = None
    stands_in: bool = False

    def __len__(self) -> int:
        return len(self.cells)

    @cached_property
    def cell_of_token(self) -> NDArray[np.int64]:
        """Position in the minibatch of each token's cell, [t]."""
        return np.repeat(np.arange(len(self)), self.tokens.lengths)

    def uniform(self, purpose: Purpose) -> NDArray[np.float64]:
        """Draw a number below 1 for each token [t]; it depends on draw, purpose, cell and gene, on nothing else."""
        return uniform(self.draw, purpose, self.cells[self.cell_of_token], self.tokens.ids)

    def uniform_of_cells(self, purpose: Purpose) -> NDArray[np.float64]:
        """Draw a number below 1 for each cell [b]."""
        return uniform(self.draw, purpose, self.cells)

    def mean(self, total: Tensor, count: Tensor) -> Tensor:
        """Divide a sum over the cells, or over some of their tokens, by how many they are in all processes together.

        Every part of a loss that is such a mean is made so: then the mean over processes is what one process with all
        the cells would have found. See :func:`~scfm_scverse.training.processes.mean_of_all`.
        """
        return mean_of_all(total * 0, count * 0) if self.stands_in else mean_of_all(total, count)
