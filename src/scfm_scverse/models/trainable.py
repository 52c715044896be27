"""What a model offers beyond :class:`CellModel` so that it can be trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from ..tokens import Tokens
from .base import CellModel

if TYPE_CHECKING:
    from torch import Tensor, nn

OWN_LICENCE = "that of whoever trained it"  # of models that are made anew in the layout of others


@dataclass(frozen=True)
class Pass:
    """What a network made of a minibatch, with gradients.

    Attributes
    ----------
    cell
        [b, d]: the vectors of cells that a head of classes reads.
    rows
        What heads of tokens read: [t, d], a row for each token of the minibatch in its order, or [b, v, d] where every
        cell has all genes of a panel.
    """

    cell: Tensor
    rows: Tensor


class Trainable(CellModel, Protocol):
    """A model whose network can be trained, and written down again.

    Everything runs on the device and in the precision of ``network``. Nothing depends on the other cells of a
    minibatch, batch normalisation apart.
    """

    @property
    def network(self) -> nn.Module:
        """What is trained."""
        ...

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:
        """Run the network with gradients; every cell has a token.

        Parameters
        ----------
        minibatch
            Tokens of ``b`` cells, as the tokeniser or an objective made them.
        batches
            int64 [b]: batch of each cell, for a network that normalises batches apart.
        """
        ...

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network its authors' head for ``n`` classes of cells, with new weights, in place of any other."""
        ...

    def class_logits(self, seen: Pass) -> Tensor:
        """Score the classes of every cell, [b, n]."""
        ...

    def renew(self) -> None:
        """Bring ``spec`` up to date with weights that have changed."""
        ...

    def write(self, folder: Path) -> None:
        """Write the model into a new folder, which :func:`scfm_scverse.models.load` reads: safetensors and JSON."""
        ...
