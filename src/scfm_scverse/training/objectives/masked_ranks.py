"""Telling genes of ranked cells from the others: what Geneformer is pretrained for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from ..._errors import InputError
from ...models.geneformer.classify import masked_logits
from ...models.geneformer.heads import MaskedHead
from ...models.geneformer.network import Network
from ...models.trainable import Pass, Trainable
from ...tokens import Tokens
from ..batch import Batch
from ..draws import Purpose
from .base import Reading, network_of

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.15  # of the genes that are to be told
MASKED, SWAPPED = 0.8, 0.1  # of these: behind <mask>, behind another gene; the rest is left
MASK = 1  # token of <mask>


class MaskedRanks(Reading):
    """Cross-entropy of the genes of some tokens, most of them masked, as in Geneformer's pretraining.

    Of the genes of a cell 15 % are to be told, each by a draw of its own: 80 % of them are masked, 10 % are another
    gene of the vocabulary, 10 % stay. Special tokens are neither masked nor put in. (The authors' program treats
    ``<cls>`` and ``<eos>`` as genes there.)

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624.
    """

    def prepare(self, model: Trainable) -> None:
        """See that the network has the head of masked genes, and remember which tokens are genes.

        Raises
        ------
        InputError
            It is no Geneformer, or has another head.
        """
        _network(model)
        self._genes = np.flatnonzero(~np.char.startswith(model.spec.genes, "<")).astype(np.int32)

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Mask genes, or put others in their places."""
        at = self._asked(batch)
        drawn = batch.uniform(Purpose.CHOSEN_RANK)[at] / SHARE
        other = self._genes[(batch.uniform(Purpose.OTHER_GENE)[at] * len(self._genes)).astype(np.int64)]
        ids = tokens.ids.copy()
        ids[at] = np.select([drawn < MASKED, drawn < MASKED + SWAPPED], [MASK, other], ids[at])
        return replace(tokens, ids=ids)

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the loss under ``"masked_ranks"``."""
        at = self._asked(batch)
        logits = masked_logits(_network(model), seen.rows[torch.from_numpy(at)]).float()
        genes = torch.from_numpy(batch.tokens.ids[at].astype(np.int64)).to(logits.device)
        total = cross_entropy(logits, genes, reduction="sum")
        return {"masked_ranks": batch.mean(total, torch.tensor(len(at)))}

    def _asked(self, batch: Batch) -> NDArray[np.int64]:
        """Tokens whose genes are to be told, [k]."""
        is_gene = batch.tokens.ids >= self._genes[0]
        return np.flatnonzero(is_gene & (batch.uniform(Purpose.CHOSEN_RANK) < SHARE))


def _network(model: Trainable) -> Network:
    network = network_of(model, Network)
    if not isinstance(network.head, MaskedHead):
        found = f"{model.spec.name} with the head {type(network.head).__name__}"
        msg = f"Found {found}; expected the head of masked genes, as pretrained ones have."
        raise InputError(msg)
    return network
