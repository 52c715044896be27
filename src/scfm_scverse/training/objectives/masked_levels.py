"""Telling hidden levels of expression: what scBERT is pretrained for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from ..._errors import InputError
from ...models.scbert.network import MASK, Classifier, Network
from ...models.scbert.pretraining import HIDDEN, masked_count
from ...models.trainable import Pass, Trainable
from ...tokens import Tokens
from ..batch import Batch
from ..draws import Purpose
from .base import Reading, network_of
from .shares import places

if TYPE_CHECKING:
    from torch import Tensor, nn


class MaskedLevels(Reading):
    """Cross-entropy of the levels of some expressed genes, most of them hidden, as in scBERT's pretraining.

    Of the genes of a cell with a level above 0, 15 % are to be told, rounded up. Each of them is hidden with a
    probability of 90 %, and stays else.

    References
    ----------
    Yang et al. (2022), Nature Machine Intelligence 4, 852-866.
    """

    def prepare(self, model: Trainable) -> None:
        """See that the network has the head of levels.

        Raises
        ------
        InputError
            It is no scBERT, or has a head of classes.
        """
        _head(model)

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Hide levels."""
        at = _asked(batch)
        values = tokens.values.copy()
        values[at[batch.uniform(Purpose.HIDDEN_LEVEL)[at] < HIDDEN]] = MASK
        return replace(tokens, values=values)

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the loss under ``"masked_levels"``."""
        at = _asked(batch)
        rows = seen.rows[torch.from_numpy(batch.cell_of_token[at]), torch.from_numpy(batch.tokens.ids[at]).long()]
        logits = _head(model)(rows).float()
        levels = torch.from_numpy(batch.tokens.values[at].astype(np.int64)).to(logits.device)
        total = cross_entropy(logits, levels, reduction="sum")
        return {"masked_levels": batch.mean(total, torch.tensor(len(at)))}


def _asked(batch: Batch) -> NDArray[np.int64]:
    """Tokens whose levels are to be told, [k]: as many of each cell as the rule says, those with the smallest draws."""
    cells, expressed = batch.cell_of_token, batch.tokens.values > 0
    place = places(batch, np.where(expressed, batch.uniform(Purpose.CHOSEN_LEVEL), 2))  # the others behind
    n_expressed = np.bincount(cells[expressed], minlength=len(batch))
    return np.flatnonzero(place < masked_count(n_expressed, len(batch.tokens.measured))[cells])


def _head(model: Trainable) -> nn.Linear:
    head = network_of(model, Network).to_out
    if isinstance(head, Classifier):
        msg = f"Found {model.spec.name} with a head of classes; expected the head of levels, as pretrained ones have."
        raise InputError(msg)
    return head
