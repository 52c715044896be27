"""The rows of a minibatch: the expressed genes of each cell, then T, then S; and how they become one vector a cell."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...nn import Spans
from ...tokens import Tokens

AROUND = 2  # T and S, the last two positions


@dataclass(frozen=True)
class Rows:
    """Rows of cells, one cell after the other.

    Attributes
    ----------
    values, positions
        Value and position of each row, [t].
    spans
        Where the rows of each cell stand.
    """

    values: Tensor
    positions: Tensor
    spans: Spans

    @property
    def last(self) -> Tensor:
        """Last row of each cell, that of S, [b]."""
        return torch.tensor(self.spans.lengths).cumsum(0) - 1


def make_rows(tokens: Tokens, n_genes: int, device: torch.device, *, drop: bool = False) -> Rows:
    """Put T and S behind the genes of each cell.

    Parameters
    ----------
    tokens
        Cells with ``T`` and ``S``.
    n_genes
        Size of the list of genes; T stands at this position, S at the next.
    device
        Where the rows are wanted.
    drop
        Leave out T or S where it is not above zero, as the authors' program does: it takes them for genes that are
        not expressed. Otherwise every cell has both.
    """
    ends = np.repeat(tokens.indptr[1:], AROUND)
    depth = np.column_stack([tokens.extra["T"], tokens.extra["S"]]).ravel()
    values = np.insert(tokens.values, ends, depth)
    positions = np.insert(tokens.ids.astype(np.int64), ends, np.tile([n_genes, n_genes + 1], len(tokens)))
    lengths = tokens.lengths + AROUND
    if drop:
        kept = values > 0
        lengths = np.add.reduceat(kept, np.cumsum(lengths) - lengths)
        values, positions = values[kept], positions[kept]
    return Rows(
        torch.from_numpy(values).to(device), torch.from_numpy(positions).to(device), Spans(tuple(lengths.tolist()))
    )


def pool(x: Tensor, spans: Spans, how: str) -> Tensor:
    """Make one vector of the rows of each cell, [t, d] -> [b, d], or [b, 4 d] for ``"all"``.

    ``"all"`` is S, T, maximum and mean of the genes, one behind the other; ``"mean"`` that of the genes; ``"max"`` goes
    over T and S too. So the authors have it.
    """
    cells = x.split_with_sizes(list(spans.lengths))
    if how == "max":
        return torch.stack([cell.amax(0) for cell in cells])
    if how == "mean":
        return torch.stack([cell[:-AROUND].mean(0) for cell in cells])
    return torch.stack([_all(cell) for cell in cells])


def _all(cell: Tensor) -> Tensor:
    if len(cell) <= AROUND:  # one gene and a dropped T or S: the authors' script stops here
        return cell.new_full((4 * cell.shape[1],), torch.nan)
    genes = cell[:-AROUND]
    return torch.cat([cell[-1], cell[-2], genes.amax(0), genes.mean(0)])
