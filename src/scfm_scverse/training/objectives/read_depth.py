"""Read-depth-aware reconstruction: masked genes of a deep cell, told from what a shallower reading of it shows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..._errors import InputError
from ...models.scfoundation.model import ScFoundation
from ...models.trainable import Trainable
from ...tokens import Tokens
from ...tokens.read_depth import TARGET_SUM, counts_of, with_counts
from ..batch import Batch
from ..draws import Purpose, uniform

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Question:
    """What the network sees of cells, and what it is asked.

    Attributes
    ----------
    tokens
        Expressed genes that are not masked, at the depth they are read at; T is the depth of the whole cell.
    cells, genes
        int64 [k]: cell of the minibatch and position of each masked gene.
    told
        float32 [k]: its log value in the whole cell.
    """

    tokens: Tokens
    cells: NDArray[np.int64]
    genes: NDArray[np.int64]
    told: NDArray[np.float32]


class ReadDepthAware:
    """Mean squared error of the log values of masked genes, as scFoundation is pre-trained (Hao et al. 2024).

    Some of the cells are read at a lower depth S than their own, T: every molecule is kept with a chance that is drawn
    for the cell from Beta(2, 2). Then genes are masked, which the encoder does not see and the decoder tells, as they
    are at depth T. Only genes that were measured are masked.

    Parameters
    ----------
    thinned
        Share of the cells that are read at a lower depth.
    least
        Counts below which a cell is left as it is.
    expressed, zeros
        Share of the genes that are masked, of those with a count and of those without. The defaults are those of the
        released settings.
    weight
        Of this part of the loss.
    """

    def __init__(
        self,
        *,
        thinned: float = 0.5,
        least: float = 1000,
        expressed: float = 0.3,
        zeros: float = 0.03,
        weight: float = 1.0,
    ) -> None:
        self.thinned, self.least, self.expressed, self.zeros, self.weight = thinned, least, expressed, zeros, weight

    def prepare(self, model: Trainable) -> None:
        """Stop where the model is no scFoundation with a decoder that reads counts of cells."""
        _checked(model)

    def losses(self, model: Trainable, batch: Batch) -> dict[str, Tensor]:
        """Return the loss under ``"read_depth"``."""
        scfoundation = _checked(model)
        asked = self.ask(batch, scfoundation.options.target_sum)
        predicted = scfoundation.predict_masked(asked.tokens, asked.cells, asked.genes).float()
        error = (predicted - torch.from_numpy(asked.told).to(predicted.device)).square().sum()
        return {"read_depth": self.weight * batch.mean(error, error.new_tensor(len(asked.told)))}

    def ask(self, batch: Batch, target_sum: float = TARGET_SUM) -> Question:
        """Thin cells and mask genes."""
        deep = batch.tokens.extra["total"] >= self.least
        tokens = thin(batch, deep & (batch.uniform_of_cells(Purpose.THINNED_CELL) < self.thinned), target_sum)
        return mask(batch, tokens, expressed=self.expressed, zeros=self.zeros)


def _checked(model: Trainable) -> ScFoundation:
    if not isinstance(model, ScFoundation):
        msg = f"Found {model.spec.name}; expected scFoundation, which alone reads and tells depths."
        raise InputError(msg)
    if model.network.decoder is None:
        msg = f"{model.spec.id} was loaded without its decoder; load the file with key='gene'."
        raise InputError(msg)
    if (model.options.input_type, model.options.pre_normalized) != ("singlecell", "F"):
        msg = f"Found {model.spec.id}; expected a model of cells and their counts: load it with pre_normalized='F'."
        raise InputError(msg)
    return model


def thin(batch: Batch, chosen: NDArray[np.bool_], target_sum: float = TARGET_SUM) -> Tokens:
    """Keep each molecule of the chosen cells [b] with a chance from Beta(2, 2), one for the cell.

    A cell of which nothing would be left stays whole. Counts that are not whole are rounded.

    Returns
    -------
    Tokens, whose S is the depth after thinning and T that before.
    """
    from scipy.stats import binom

    tokens, of = batch.tokens, batch.cell_of_token
    total = tokens.extra["total"]
    counts = counts_of(tokens, target_sum)
    # The quantile of Beta(2, 2), whose distribution function is 3 x^2 - 2 x^3.
    chance = 0.5 - np.sin(np.arcsin(1 - 2 * batch.uniform_of_cells(Purpose.SHARE_KEPT)) / 3)
    kept, here = counts.copy(), chosen[of]
    kept[here] = np.maximum(binom.ppf(batch.uniform(Purpose.COUNTS_KEPT)[here], counts[here], chance[of][here]), 0)
    left, whole = (np.bincount(of, weights=one, minlength=len(batch)) for one in (kept, counts))
    thinned = chosen & (left > 0)
    # Where the total counts genes that the matrix does not hold, they are thinned as the others are on average.
    depth = np.where(thinned, left + (total - whole) * chance, total)
    raw = replace(tokens, extra={**tokens.extra, "T": np.log10(total).astype(np.float32)})
    return with_counts(raw, np.where(thinned[of], kept, counts), depth, target_sum)


def mask(batch: Batch, tokens: Tokens, *, expressed: float, zeros: float) -> Question:
    """Mask a share of the genes that have a token in a cell, and a share of the other genes that were measured."""
    whole, n_genes = batch.tokens, np.arange(len(tokens.measured))
    seen, genes, told = [], [], []
    for cell, number in enumerate(batch.cells):  # one by one: the minibatch is never dense
        ids = tokens.ids[tokens.indptr[cell] : tokens.indptr[cell + 1]]
        chance = np.where(tokens.measured, zeros, 0.0)
        chance[ids] = expressed
        hidden = uniform(batch.draw, Purpose.MASKED_GENE, number, n_genes) < chance
        values = np.zeros(len(hidden), np.float32)
        own = slice(whole.indptr[cell], whole.indptr[cell + 1])
        values[whole.ids[own]] = whole.values[own]
        seen.append(~hidden[ids])
        genes.append(np.flatnonzero(hidden))
        told.append(values[hidden])
    cells = np.repeat(np.arange(len(batch)), [len(one) for one in genes])
    return Question(_kept(tokens, seen), cells, np.concatenate(genes), np.concatenate(told))


def _kept(tokens: Tokens, kept: list[NDArray[np.bool_]]) -> Tokens:
    """Some of the tokens of each cell."""
    every = np.concatenate(kept)
    indptr = np.concatenate([[0], np.cumsum([one.sum() for one in kept])])
    return replace(tokens, indptr=indptr, ids=tokens.ids[every], values=tokens.values[every])
