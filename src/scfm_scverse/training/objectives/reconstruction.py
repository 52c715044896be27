"""Telling the expression of genes that are hidden, from a linear model's vector of the cell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ...models.scfm_mini.network import MiniNetwork
from ...models.trainable import Pass, Trainable
from ...tokens import Tokens
from ..batch import Batch
from ..draws import Purpose
from .base import Reading, network_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


class Reconstruction(Reading):
    """Mean squared error of the standardised expression of all genes that a cell is shown as zero.

    Some expressed genes are shown without a count, as if they had been missed. The vector of the cell is solved from
    what is left, and asked for the hidden genes and for the true zeros alike: which is which it cannot know, so that
    the best answer is the mean of what such a gene turns out to be in such a cell. Genes that are shown expressed are
    not asked for, as they would reward copying. All genes of that kind count the same: with fewer zeros among them the
    told expression would be too high.

    Parameters
    ----------
    hidden
        Share of the expressed genes that are hidden.
    weight
        Of this part of the loss.
    """

    def __init__(self, *, hidden: float = 0.3, weight: float = 1.0) -> None:
        self.hidden, self.weight = hidden, weight

    def prepare(self, model: Trainable) -> None:
        """Stop where the model is no linear model."""
        network_of(model, MiniNetwork)

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Take the counts of some genes away."""
        return replace(tokens, values=np.where(self._chosen(batch), np.float32(0), tokens.values))

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the loss under ``"reconstruction"``."""
        network, tokens, where = network_of(model, MiniNetwork), batch.tokens, seen.cell.device
        measured = np.flatnonzero(tokens.measured)
        genes, ids, values = (
            torch.from_numpy(one).to(where) for one in (measured, tokens.ids.astype(np.int64), tokens.values)
        )
        at = torch.from_numpy(batch.cell_of_token).to(where), torch.searchsorted(genes, ids)
        told = network.told(seen.cell, genes)
        target = network.zeros()[genes].repeat(len(batch), 1)
        target[at] = network.levels(ids, values)
        asked = torch.ones_like(target)
        asked[at] = torch.from_numpy(self._chosen(batch)).to(asked)
        error = ((told - target).square() * asked).sum()
        return {"reconstruction": self.weight * batch.mean(error, asked.sum())}

    def _chosen(self, batch: Batch) -> NDArray[np.bool_]:
        return batch.uniform(Purpose.HIDDEN_COUNT) < self.hidden
