"""Telling the expression of hidden genes of a cell from the others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from ..._errors import InputError
from ...models.scfm_latent.decoder import Told
from ...models.scfm_latent.reading import HIDDEN, LatentPass
from ...models.trainable import Pass, Trainable
from ...tokens import Tokens
from ..batch import Batch
from ..draws import Purpose, uniform
from .base import Reading
from .shares import places

if TYPE_CHECKING:
    from torch import Tensor


class _Asked(NamedTuple):
    """Genes that cells are asked for, ``k`` in all, one cell after the other.

    Attributes
    ----------
    genes
        int64 [k]: positions in the vocabulary.
    values
        float32 [k]: values of the hidden ones, 0 for the others.
    odds
        float32 [k]: logarithm of how much oftener an expressed gene of this cell is asked for than one that is zero.
    lengths
        How many are asked for of each cell, [b].
    """

    genes: NDArray[np.int64]
    values: NDArray[np.float32]
    odds: NDArray[np.float32]
    lengths: tuple[int, ...]


class MaskedValues(Reading):
    """Hide a share of the expressed genes of every cell; ask for some of them, and for as many genes that are zero.

    The network sees no trace of what is hidden, and is asked twice: all latents, and the vector of the cell alone,
    which is trained by nothing else. Each time there are two parts of a loss: the squared error of the values of hidden
    genes, and the cross-entropy of whether each gene asked for is expressed. A network that tells each gene's mean of
    every cell has 0.3 to 0.5 of both (in whole transcriptomes of blood cells), so they weigh the same.

    An expressed gene is asked for far oftener than one that is zero. The difference, known for every cell, is added to
    the logit before the cross-entropy, so that the logit itself is that of a gene of the vocabulary picked at random
    (King and Zeng 2001, Political Analysis 9:137), however many are asked for.

    Parameters
    ----------
    share
        Share of the expressed genes that is hidden.
    n_asked
        Genes that a cell is asked for, half of them hidden ones; all hidden ones where these are fewer.
    from_cell
        Weight of what the vector of the cell alone tells.
    weight
        Of this part of the loss.
    """

    def __init__(self, *, share: float = 0.45, n_asked: int = 512, from_cell: float = 0.5, weight: float = 1.0) -> None:
        if not 0 < share < 1:
            msg = f"Found share={share}; expected a share of the expressed genes between 0 and 1."
            raise InputError(msg)
        self.share, self.n_asked, self.from_cell, self.weight = share, n_asked, from_cell, weight

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Hide genes; a cell keeps one at least."""
        hidden = self._ranks(batch) < self._n_hidden(batch)[batch.cell_of_token]
        return replace(tokens, values=np.where(hidden, np.float32(HIDDEN), tokens.values))

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the losses ``"values"`` and ``"expressed"``, and the same from the vector of the cell.

        Raises
        ------
        InputError
            The model cannot be asked for genes.
        """
        if not isinstance(seen, LatentPass):
            msg = f"{model.spec.name} cannot be asked for genes; expected a model of the architecture 'scfm-latent'."
            raise InputError(msg)
        asked = self._asked(batch)
        genes = torch.from_numpy(asked.genes).to(seen.memory.device)
        parts = {}
        for name, weight in (("", 1.0), ("_from_cell", self.from_cell)):
            told = seen.tell(genes, asked.lengths, from_cell=name != "")
            values, expressed = _losses(told, asked, batch)
            parts[f"values{name}"] = self.weight * weight * values
            parts[f"expressed{name}"] = self.weight * weight * expressed
        return parts

    def _n_hidden(self, batch: Batch) -> NDArray[np.int64]:
        """How many genes of each cell are hidden, [b]."""
        return (self.share * batch.tokens.lengths).astype(np.int64)

    def _ranks(self, batch: Batch) -> NDArray[np.int64]:
        """Place of each token in a random order of those of its cell, [t]."""
        return places(batch, batch.uniform(Purpose.HIDDEN_VALUE))

    def _asked(self, batch: Batch) -> _Asked:
        """Choose the first of the hidden genes, and genes that are zero, drawn with replacement."""
        tokens, half = batch.tokens, self.n_asked // 2
        n_hidden = np.minimum(self._n_hidden(batch), half)
        first = np.flatnonzero(self._ranks(batch) < n_hidden[batch.cell_of_token])
        measured = np.flatnonzero(tokens.measured)
        n_drawn = min(half, len(measured))
        draws = uniform(batch.draw, Purpose.ZERO_ASKED_FOR, batch.cells[:, None], np.arange(n_drawn))
        drawn = measured[(draws * len(measured)).astype(np.int64)]
        cell, at = np.nonzero(~_expressed(batch, drawn) & (n_hidden > 0)[:, None])
        cells = np.concatenate([batch.cell_of_token[first], cell])
        genes = np.concatenate([tokens.ids[first], drawn[cell, at]]).astype(np.int64)
        values = np.concatenate([tokens.values[first], np.zeros(len(cell), np.float32)])
        odds = np.log(np.maximum(n_hidden, 1) / tokens.lengths) - np.log(n_drawn / len(measured))
        order = np.argsort(cells, kind="stable")
        lengths = tuple(np.bincount(cells, minlength=len(batch)).tolist())
        return _Asked(genes[order], values[order], odds[cells[order]].astype(np.float32), lengths)


def _expressed(batch: Batch, genes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the cell of each row expresses these genes, [b, k]."""
    n_genes = len(batch.tokens.measured)
    there = batch.cell_of_token * n_genes + batch.tokens.ids
    return np.isin(np.arange(len(batch))[:, None] * n_genes + genes, there)


def _losses(told: Told, asked: _Asked, batch: Batch) -> tuple[Tensor, Tensor]:
    """Mean squared error of the hidden values, and mean cross-entropy of being expressed."""
    values, odds = (torch.from_numpy(one).to(told.value.device) for one in (asked.values, asked.odds))
    expressed = (values > 0).float()
    errors = (expressed * (told.value - values).square()).sum()
    entropy = binary_cross_entropy_with_logits(told.logit + odds, expressed, reduction="sum")
    n = expressed.new_tensor(len(asked.values))
    return batch.mean(errors, expressed.sum()), batch.mean(entropy, n)
