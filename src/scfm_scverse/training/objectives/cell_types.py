"""Telling types of cells apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from ..._errors import InputError
from ...models.trainable import Pass, Trainable
from ..batch import Batch
from .base import Reading

if TYPE_CHECKING:
    from torch import Tensor


class CellTypes(Reading):
    """Cross-entropy of the classes of cells; cells of no known class count in no mean.

    Parameters
    ----------
    n_classes
        How many classes there are.
    class_weights
        Weight of the cells of each class, [n]; ``None`` gives all the same.
    weight
        Of this part of the loss.
    seed
        Of the first weights of the head.
    """

    def __init__(
        self, n_classes: int, *, class_weights: NDArray[np.floating] | None = None, weight: float = 1.0, seed: int = 0
    ) -> None:
        self.n_classes, self.class_weights, self.weight, self.seed = n_classes, class_weights, weight, seed

    def prepare(self, model: Trainable) -> None:
        """Put a head of classes on the network."""
        model.add_classes(self.n_classes, seed=self.seed)

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the loss under ``"cell_types"``.

        Raises
        ------
        InputError
            The data have no labels.
        """
        if batch.labels is None:
            msg = "Found no labels of cells; expected them: pass labels_key=."
            raise InputError(msg)
        logits = model.class_logits(seen).float()
        labels = batch.labels.to(logits.device)
        weights = None if self.class_weights is None else logits.new_tensor(self.class_weights)
        # Summed and divided, since a minibatch without a known class is no error and has no gradient.
        total = cross_entropy(logits, labels, weight=weights, ignore_index=-1, reduction="sum")
        counted = (labels >= 0).sum() if weights is None else weights[labels[labels >= 0]].sum()
        return {"cell_types": self.weight * batch.mean(total, counted)}


def balanced_weights(labels: NDArray[np.integer], n_classes: int) -> NDArray[np.float64]:
    """Weights that give every class that occurs the same share of the loss, of mean one over the cells, [n]."""
    counts = np.bincount(labels[labels >= 0], minlength=n_classes)
    present = counts > 0
    weights = np.zeros(n_classes)
    weights[present] = counts.sum() / (present.sum() * counts[present])
    return weights
