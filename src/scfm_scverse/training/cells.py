"""The cells that a network is trained on: rows of a matrix, their labels and batches, as minibatches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..io.blocks import take_rows
from ..tokens import Tokens
from .batch import Batch

CHECKED = -1  # epoch that validations draw from, every time


@dataclass(frozen=True)
class Cells:
    """A data set as a network sees it.

    Attributes
    ----------
    matrix
        Cells x genes, in memory or on disk: whatever :func:`~scfm_scverse.io.blocks.take_rows` reads.
    tokenize
        The model's tokeniser for this matrix.
    labels, batches
        int64 [n]: class of each cell, -1 where unknown, and its batch; ``None`` where there are none.
    totals
        Total counts of the cells [n], for a model that reads them.
    """

    matrix: Any
    tokenize: Callable[..., Tokens]
    labels: NDArray[np.int64] | None = None
    batches: NDArray[np.int64] | None = None
    totals: NDArray[np.float64] | None = None

    def read(self, rows: NDArray[np.int64], draw: int) -> Batch:
        """Return a minibatch of these cells, without those that have no token."""
        block = take_rows(self.matrix, rows)
        tokens = self.tokenize(block) if self.totals is None else self.tokenize(block, self.totals[rows])
        if not tokens.lengths.all():
            kept = np.flatnonzero(tokens.lengths)
            tokens, rows = tokens.take(kept), rows[kept]
        return Batch(tokens, rows, draw, _chosen(self.labels, rows), _chosen(self.batches, rows))


def _chosen(numbers: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> Tensor | None:
    return None if numbers is None else torch.from_numpy(numbers[rows])


class Minibatches:
    """Minibatches of an epoch, in an order that depends on seed and epoch alone.

    Parameters
    ----------
    cells
        The data set.
    rows
        int64 [n]: the cells to go through.
    batch_size
        Cells of a minibatch.
    seed
        Of the order and of what objectives draw.
    shuffle
        Whether every epoch has another order; if not, every epoch also draws the same.
    """

    def __init__(
        self, cells: Cells, rows: NDArray[np.int64], *, batch_size: int, seed: int = 0, shuffle: bool = True
    ) -> None:
        self.cells, self.rows, self.batch_size, self.seed, self.shuffle = cells, rows, batch_size, seed, shuffle
        self.epoch = self.position = 0

    def __len__(self) -> int:
        return ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        # Here and not behind the last minibatch, which whoever knows the length does not ask beyond.
        if self.position >= len(self):
            self.epoch, self.position = self.epoch + 1, 0
        epoch = self.epoch if self.shuffle else CHECKED
        order = self.rows
        if self.shuffle:
            order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)
        draw = self.seed * 1_000_003 + epoch
        while self.position < len(self):
            first = self.position * self.batch_size
            self.position += 1
            yield self.cells.read(order[first : first + self.batch_size], draw)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands."""
        return {"epoch": self.epoch, "position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there."""
        self.epoch, self.position = state["epoch"], state["position"]
