"""Edited copies of cells through a model, beside the cells they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..inference.buckets import token_budget
from ..inference.device import Dtype, choose_device, choose_dtype
from ..models import CellModel, Encoded, Wanted
from ..tokens import Tokens
from .baselines import Baselines, cut
from .copies import Copies

if TYPE_CHECKING:
    import torch


class Edits(Protocol):
    """Cells, and how their edited copies are made."""

    @property
    def tokens(self) -> Tokens:
        """Tokens of the cells as they are."""
        ...

    @property
    def held(self) -> sp.csc_matrix:
        """Which cells hold which genes [n, v]."""
        ...

    def edit(self, copies: Copies) -> Tokens:
        """Make the tokens of copies."""
        ...

    def compared_with(self, copies: Copies) -> Baselines:
        """Find the cells that copies are compared with."""
        ...


@dataclass(frozen=True)
class Pairs:
    """What a model says of some copies and of their cells.

    Attributes
    ----------
    copy
        int64 [b]: which copies.
    edited
        What it says of the copies [b].
    original
        What it says of the cells [n].
    of
        int64 [b]: cell of each copy.
    """

    copy: NDArray[np.int64]
    edited: Encoded
    original: Encoded
    of: torch.Tensor


def stream_pairs(
    model: CellModel,
    edits: Edits,
    copies: Copies,
    want: Wanted,
    *,
    device: str = "auto",
    dtype: Dtype = "float32",
    batch_size: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Pairs]:
    """Run a model over edited copies of cells, minibatch after minibatch.

    Only the copies of one minibatch exist at a time. Copies of a cell run together, the cell itself runs once.

    Parameters
    ----------
    model
        The model.
    edits
        The cells and how copies are made.
    copies
        Which copies.
    want
        What is read of the model.
    device, dtype
        Where and how precisely the model computes. Small differences of cosines need float32.
    batch_size
        Copies that go through the model together at most; ``None`` cuts by tokens alone.
    advance
        Called with the number of copies just done.

    Yields
    ------
    Copies of a minibatch; together every copy that has a token left, once, those of one cell one after the other.
    """
    import torch

    where = choose_device(device)
    precision = choose_dtype(dtype, where, bears_bfloat16=model.spec.bfloat16)
    budget = token_budget(model.spec.minibatch_tokens, where)

    def encode(minibatch: Tokens) -> Encoded:
        return model.encode(minibatch, want, device=where, dtype=precision)

    baselines = edits.compared_with(copies)
    lengths = edits.tokens.lengths[copies.cell]
    for cells, rows in baselines.groups(budget, batch_size):
        original = encode(baselines.tokens.take(np.arange(cells.start, cells.stop)))
        for part in cut(lengths[rows], budget, batch_size):
            some = rows[part]
            edited = edits.edit(copies.take(some))
            left = np.flatnonzero(edited.lengths > 0)
            if len(left):
                of = torch.from_numpy(baselines.of[some[left]] - cells.start).to(where)
                yield Pairs(some[left], encode(edited.take(left)), original, of)
            advance(len(some))
