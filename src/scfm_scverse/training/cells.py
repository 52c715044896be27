"""The cells that a network is trained on: rows of a matrix, their labels and batches, as minibatches."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import InputError
from .._logging import say
from ..io.blocks import take_rows
from ..tokens import Tokens
from .batch import Batch
from .order import BUFFER, blocks_of, in_memory, permuted, permuted_blocks
from .prefetch import ahead
from .processes import place_of_process

CHECKED = -1  # epoch that validations draw from, every time
_AHEAD = 2  # minibatches that are made before they are asked for


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
        return self.make(take_rows(self.matrix, rows), rows, draw)

    def make(self, block: sp.csr_matrix, rows: NDArray[np.int64], draw: int) -> Batch:
        """Return a minibatch of cells that have been read, without those that have no token."""
        tokens = self.tokenize(block) if self.totals is None else self.tokenize(block, self.totals[rows])
        if not tokens.lengths.all():
            kept = np.flatnonzero(tokens.lengths)
            tokens, rows = tokens.take(kept), rows[kept]
        return Batch(tokens, rows, draw, _chosen(self.labels, rows), _chosen(self.batches, rows))


def _chosen(numbers: NDArray[np.int64] | None, rows: NDArray[np.int64]) -> Tensor | None:
    return None if numbers is None else torch.from_numpy(numbers[rows])


class _Share(NamedTuple):
    """What a process has of a minibatch, read and not yet tokenised."""

    block: sp.csr_matrix
    rows: NDArray[np.int64]


class Minibatches:
    """Minibatches of an epoch, in an order that depends on seed and epoch alone.

    A matrix in memory is gone through in any order. One on a disk is read by blocks of cells that stand together, some
    4,096 cells at a time from all over the file, and these are shuffled. Reading and tokenising run ahead in threads.

    Where processes train together (``torch.distributed``), each has its share of every minibatch, which is
    ``batch_size`` cells times the processes; so a run sees the same minibatches however many processes share them. A
    share without a cell to train on holds one that counts nowhere, since processes must step together.

    Every iteration is the next epoch, but for the one that follows :meth:`load_state_dict`, which goes on.

    Parameters
    ----------
    cells
        The data set.
    rows
        int64 [n]: the cells to go through.
    batch_size
        Cells of a minibatch in each process.
    seed
        Of the order and of what objectives draw.
    shuffle
        Whether every epoch has another order; if not, every epoch also draws the same.

    Attributes
    ----------
    epoch, position
        Which epoch it is, and how many of its minibatches have been handed out.
    left_out
        Cells of them that had no token.
    """

    def __init__(
        self, cells: Cells, rows: NDArray[np.int64], *, batch_size: int, seed: int = 0, shuffle: bool = True
    ) -> None:
        if batch_size < 1 or not len(rows):
            msg = f"Found {len(rows)} cells in minibatches of {batch_size}; expected one at least of both."
            raise InputError(msg)
        self.cells, self.rows, self.batch_size, self.seed, self.shuffle = cells, rows, batch_size, seed, shuffle
        self.epoch = self.position = self.left_out = 0
        self._goes_on = False

    def __len__(self) -> int:
        return ceil(len(self.rows) / self._size)

    @property
    def _size(self) -> int:
        return self.batch_size * place_of_process()[1]

    def __iter__(self) -> Iterator[Batch]:
        if self.position == len(self) or (self.position and not self._goes_on):
            self.epoch, self.position, self.left_out = self.epoch + 1, 0, 0
        self._goes_on = False
        with closing(self._rest()) as batches:
            for batch, n_read in batches:
                self.position += 1
                self.left_out += n_read - len(batch) * (not batch.stands_in)
                if self.position == len(self) and self.left_out and self.epoch == 0:
                    say(f"{self.left_out:,} cells have none of the genes of the model and were left out")
                yield batch

    def _rest(self) -> Generator[tuple[Batch, int]]:
        """Minibatches from here to the end of the epoch, each with the number of cells that were read for it."""
        n, size = len(self), self._size
        together = 1 if in_memory(self.cells.matrix) else ceil(BUFFER / size)
        order = self._order(together * size)
        starts = [self.position, *range((self.position // together + 1) * together, n, together), n]
        jobs = ([order[i * size : (i + 1) * size] for i in range(*ends)] for ends in pairwise(starts))
        with closing(ahead(self._read, jobs, 1)) as buffers:
            yield from ahead(self._make, (share for shares in buffers for share in shares), _AHEAD)

    def _order(self, buffer: int) -> NDArray[np.int64]:
        if not self.shuffle:
            return self.rows
        if in_memory(self.cells.matrix):
            return permuted(self.rows, seed=self.seed, epoch=self.epoch)
        rows = np.sort(self.rows)
        blocks = blocks_of(self.cells.matrix, rows)
        return permuted_blocks(rows, blocks, buffer=buffer, seed=self.seed, epoch=self.epoch)

    def _read(self, whole: list[NDArray[np.int64]]) -> list[_Share]:
        rank, world = place_of_process()
        rows = [np.array_split(rows, world)[rank] for rows in whole]
        block, ends = take_rows(self.cells.matrix, np.concatenate(rows)), np.cumsum([0, *map(len, rows)])
        return [_Share(block[start:stop], some) for some, (start, stop) in zip(rows, pairwise(ends), strict=True)]

    def _make(self, share: _Share) -> tuple[Batch, int]:
        draw = self.seed * 1_000_003 + (self.epoch if self.shuffle else CHECKED)
        batch = self.cells.make(share.block, share.rows, draw) if len(share.rows) else None
        if not batch:
            batch = replace(self._any_cell, draw=draw, stands_in=True)
        return batch, len(share.rows)

    @cached_property
    def _any_cell(self) -> Batch:
        """The first cell that has a token."""
        for start in range(0, len(self.rows), BUFFER):
            found = self.cells.read(self.rows[start : start + BUFFER], 0)
            if len(found):
                return self.cells.read(found.cells[:1], 0)
        msg = f"None of the {len(self.rows):,} cells has a gene of the model; expected counts in some."
        raise InputError(msg)

    def state_dict(self) -> dict[str, int]:
        """Return where the loader stands."""
        of = {"cells": len(self.rows), "minibatch": self._size, "seed": self.seed}
        return {"epoch": self.epoch, "position": self.position, "left_out": self.left_out, **of}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from there.

        Raises
        ------
        InputError
            The state is that of other minibatches.
        """
        ours = self.state_dict()
        for name in ("cells", "minibatch", "seed"):
            if state[name] != ours[name]:
                msg = (
                    f"Found a run with {name}={state[name]} to go on with, this one has {ours[name]}; expected the "
                    "same cells in minibatches of one size (batch_size times the processes) and the same seed."
                )
                raise InputError(msg)
        self.epoch, self.position, self.left_out = state["epoch"], state["position"], state["left_out"]
        self._goes_on = True
