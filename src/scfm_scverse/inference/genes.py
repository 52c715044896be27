"""What a model says of genes in cells, averaged over cells while it is said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError

if TYPE_CHECKING:
    import torch

    from ..models.base import Encoded


@dataclass(frozen=True)
class Means:
    """Means over the cells of ``g`` groups for ``s`` places.

    Attributes
    ----------
    mean
        float32 [g, s, d], NaN where no cell of the group tells anything of the place.
    n_cells
        int64 [g, s]: cells that do.
    """

    mean: NDArray[np.float32]
    n_cells: NDArray[np.int64]


def mean_gene_vectors(
    answers: Iterable[tuple[NDArray[np.int64], Encoded]],
    group: NDArray[np.integer],
    place: NDArray[np.integer],
) -> Means:
    """Average the vectors of each gene over the cells of each group.

    Parameters
    ----------
    answers
        What :func:`encode_groups` yields, with genes wanted.
    group
        Group of each cell, -1 for cells of none [n].
    place
        Place of each entry of the vocabulary among those that are kept, -1 where it is not [v].
    """
    sums = _Sums(int(group.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    for cells, answer in answers:
        if answer.gene is not None:
            rows = answer.gene
            sums.add(group[cells][rows.cell.cpu().numpy()], place[rows.gene.cpu().numpy()], rows.values)
    return sums.means()


def mean_attention(
    answers: Iterable[tuple[NDArray[np.int64], Encoded]],
    query: NDArray[np.integer],
    place: NDArray[np.integer],
) -> Means:
    """Average the attention of each named gene to each other, over the cells that hold both, [queries, places, heads].

    Parameters
    ----------
    answers
        What :func:`encode_groups` yields, with attention wanted.
    query
        Place of each entry of the vocabulary among the named genes, -1 where it is not [v].
    place
        Place of each entry of the vocabulary among those that are kept, -1 where it is not [v].
    """
    sums = _Sums(int(query.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    for _, answer in answers:
        if answer.attention is not None:
            rows = answer.attention
            sums.add(query[rows.query.cpu().numpy()], place[rows.key.cpu().numpy()], rows.weights)
    return sums.means()


def overall(means: Means) -> NDArray[np.float32]:
    """Mean over the cells of all groups together, [s, d]."""
    n_cells = means.n_cells[..., None]
    total = np.nansum(means.mean * n_cells, axis=0)
    count = n_cells.sum(axis=0)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)


class _Sums:
    """Sums and counts of rows by group and place."""

    def __init__(self, n_groups: int, n_places: int) -> None:
        if n_groups == 0 or n_places == 0:
            msg = "Found no gene of the data that the model knows; expected one at least."
            raise InputError(msg)
        self.shape = (n_groups, n_places)
        self.count = np.zeros(n_groups * n_places, np.int64)
        self.total: torch.Tensor | None = None  # as wide as the first rows

    def add(self, group: NDArray[np.integer], place: NDArray[np.integer], values: torch.Tensor) -> None:
        import torch

        kept = np.flatnonzero((group >= 0) & (place >= 0))
        at = group[kept].astype(np.int64) * self.shape[1] + place[kept]
        self.count += np.bincount(at, minlength=len(self.count))
        rows = values.float().cpu()
        if self.total is None:
            self.total = torch.zeros(len(self.count), rows.shape[1])
        self.total.index_add_(0, torch.from_numpy(at), rows[torch.from_numpy(kept)])

    def means(self) -> Means:
        width = 0 if self.total is None else self.total.shape[1]
        total = np.zeros((len(self.count), 0), np.float32) if self.total is None else self.total.numpy()
        mean = np.full((len(self.count), width), np.nan, np.float32)
        told = self.count > 0
        mean[told] = total[told] / self.count[told, None]
        return Means(mean.reshape(*self.shape, width), self.count.reshape(self.shape))
