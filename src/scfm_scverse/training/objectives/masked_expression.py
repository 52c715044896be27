"""Telling hidden expression: what scGPT is fine-tuned for, beside other things."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..._errors import InputError
from ...models.scgpt.losses import squares, surprise
from ...models.scgpt.network import ScgptNetwork
from ...models.scgpt.parts import add_nonzero
from ...models.trainable import Pass, Trainable
from ...nn import Spans
from ...tokens import Tokens
from ..batch import Batch
from ..draws import Purpose
from .base import Reading, network_of
from .shares import share_of_genes

if TYPE_CHECKING:
    from torch import Tensor


class MaskedExpression(Reading):
    """Squared error of hidden values, told from the tokens' rows (GEP) and from the cells' vectors (GEPC).

    That share of each cell's genes is hidden, drawn anew every epoch, never <cls>. (The authors' fine-tuning lets <cls>
    be drawn, and their collator draws every gene by itself.)

    Parameters
    ----------
    share
        Share of a cell's genes that is hidden.
    nonzero
        Whether the network also tells how probable it is that a hidden value is above zero, which needs tokens that
        are not; a network that does not do so yet learns it.
    weight
        Of all these parts of the loss.
    seed
        Of the first weights of decoders that are added.

    References
    ----------
    Cui et al. scGPT: toward building a foundation model for single-cell multi-omics using generative AI. Nature
    Methods 21, 1470-1480 (2024).
    """

    def __init__(self, share: float = 0.4, *, nonzero: bool = False, weight: float = 1.0, seed: int = 0) -> None:
        if not 0 < share <= 1:
            msg = f"Found share={share}; expected a share of the genes above 0, 1 at most."
            raise InputError(msg)
        self.share, self.nonzero, self.weight, self.seed = share, nonzero, weight, seed
        self.mask_value = -1.0

    def prepare(self, model: Trainable) -> None:
        """See that the network tells expression, and add what it lacks.

        Raises
        ------
        InputError
            It is no scGPT, has no decoder of expression, or reads values that cannot be hidden.
        """
        network = network_of(model, ScgptNetwork)
        config = network.config
        if not config.expression or config.perturbation or config.n_modalities or config.value_style == "scaling":
            msg = (
                "Found a scGPT without a decoder of expression, for perturbations, of several modalities or of values "
                "as factors; expected one that tells hidden values."
            )
            raise InputError(msg)
        if config.value_style == "category":
            self.mask_value = config.n_values - 1.0
        if self.nonzero:
            add_nonzero(network, self.seed)

    def hidden(self, batch: Batch) -> NDArray[np.bool_]:
        """Tokens whose values are hidden, [t]."""
        return share_of_genes(batch, Purpose.HIDDEN_EXPRESSION, self.share)

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Put the value that stands for hidden ones."""
        return replace(tokens, values=np.where(self.hidden(batch), np.float32(self.mask_value), tokens.values))

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return ``"expression"`` and ``"from_cell"``, and with ``nonzero`` the same two with ``"_nonzero"`` behind."""
        network = network_of(model, ScgptNetwork)
        where = seen.rows.device
        at = self.hidden(batch)
        spans = Spans(tuple(np.bincount(batch.cell_of_token[at], minlength=len(batch)).tolist()))
        ids = torch.from_numpy(batch.tokens.ids[at].astype(np.int64)).to(where)
        target = torch.from_numpy(batch.tokens.values[at]).to(where)
        batches = None if batch.batches is None else batch.batches.to(where)
        told = {"expression": network.expression(seen.rows[torch.from_numpy(at).to(where)], spans, batches)}
        if network.config.mvc is not None:
            told["from_cell"] = network.from_cell(seen.cell, network.encoder(ids), spans, batches)
        losses = {name: squares(one.value, target) for name, one in told.items()}
        if self.nonzero:
            losses |= {
                f"{name}_nonzero": surprise(one.nonzero, target)
                for name, one in told.items()
                if one.nonzero is not None
            }
        n = torch.tensor(len(target))
        return {name: self.weight * batch.mean(loss.sum(), n) for name, loss in losses.items()}
