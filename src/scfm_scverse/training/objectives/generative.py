"""Telling the expression of genes from that of the others: what scGPT is pretrained for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._errors import InputError
from ...models.scgpt.generative import Question, ask, check_flags, generative_losses
from ...models.scgpt.network import ScgptNetwork
from ...models.trainable import Trainable
from ...nn import Spans
from ..batch import Batch
from ..draws import Purpose
from .base import network_of
from .shares import share_of_genes

if TYPE_CHECKING:
    from torch import Tensor


class GenerativeExpression:
    """Squared error of the values of genes that are asked for, as in scGPT's pretraining.

    A gene that is asked for attends to the known genes of its cell and to itself. How many are asked for is drawn for
    each cell (the authors draw for a minibatch, which is then no mixture), and which they are.

    Parameters
    ----------
    shares
        Shares of a cell's genes that may be asked for.
    from_vector
        Weight of a second pass that asks with the cell's vector in place of <cls>, 0 leaves it out. The authors do for
        the first 1,000 steps, when the vectors say little: train these first, and then go on with 1.
    weight
        Of all parts of the loss.

    References
    ----------
    Cui et al. scGPT: toward building a foundation model for single-cell multi-omics using generative AI. Nature
    Methods 21, 1470-1480 (2024).
    """

    def __init__(
        self, shares: Sequence[float] = (0.25, 0.5, 0.75), *, from_vector: float = 1.0, weight: float = 1.0
    ) -> None:
        if not shares or not all(0 < share < 1 for share in shares):
            msg = f"Found shares={shares!r}; expected one at least, each above 0 and below 1."
            raise InputError(msg)
        self.shares, self.from_vector, self.weight = tuple(shares), from_vector, weight

    def prepare(self, model: Trainable) -> None:
        """See that the network can be asked for genes.

        Raises
        ------
        InputError
            It is no scGPT, or was fine-tuned for something else.
        """
        check_flags(network_of(model, ScgptNetwork))

    def question(self, model: Trainable, batch: Batch) -> tuple[Question, Tensor]:
        """Return what is known and what is asked for, and the true values of the latter."""
        where = network_of(model, ScgptNetwork).encoder.embedding.weight
        which = (batch.uniform_of_cells(Purpose.SHARE_ASKED_FOR) * len(self.shares)).astype(np.int64)
        asked = share_of_genes(batch, Purpose.ASKED_FOR, np.array(self.shares)[which])
        ids = torch.from_numpy(batch.tokens.ids.astype(np.int64)).to(where.device)
        values = torch.from_numpy(batch.tokens.values).to(where)
        spans = Spans(tuple(batch.tokens.lengths.tolist()))
        return ask(ids, values, spans, torch.from_numpy(asked).to(where.device))

    def losses(self, model: Trainable, batch: Batch) -> dict[str, Tensor]:
        """Return ``"expression"``, ``"from_cell"`` and, unless its weight is 0, ``"from_vector"``."""
        question, target = self.question(model, batch)
        network = network_of(model, ScgptNetwork)
        found = generative_losses(network, question, target, from_vector=self.from_vector > 0)
        n = torch.tensor(len(target))
        weights = dict.fromkeys(found, self.weight) | {"from_vector": self.weight * self.from_vector}
        return {name: weights[name] * batch.mean(loss * n, n) for name, loss in found.items()}
