"""Labelled cells nearest to given ones: exact up to a size, by an index of neighbours beyond."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError

if TYPE_CHECKING:
    from .reference import Reference

EXACT_UP_TO = 200_000  # labelled cells
_PRODUCT = 2**25  # similarities that are held at a time: 128 MB
_LINKS, _EPSILON = 20, 0.3  # neighbours that the index keeps of each cell; how far beyond the nearest it looks


@dataclass(frozen=True)
class Neighbors:
    """Nearest cells, the nearest first: positions [n, k] and distances [n, k]; -1 and NaN for cells of NaN."""

    index: NDArray[np.int64]
    distance: NDArray[np.float32]


class NeighborSearch:
    """Finds the vectors at the smallest angles to others, among vectors that are given once.

    Up to 200,000 vectors the search is exact; beyond, an index is made on the first call and at least 95 of 100
    neighbours that it finds are true ones (``benchmarks/neighbors.py``).

    Parameters
    ----------
    among
        [m, d].
    random_state
        Seed of the index.
    """

    def __init__(self, among: NDArray[np.floating], *, random_state: int = 0) -> None:
        self.among = _unit(among)
        self.random_state = random_state

    def __call__(self, cells: NDArray[np.floating], n_neighbors: int) -> Neighbors:
        """Positions of the nearest vectors and their cosine distances (0 to 2); cells [n, d] may hold NaN."""
        if not 1 <= n_neighbors <= len(self.among):
            msg = f"n_neighbors={n_neighbors}; expected 1 to {len(self.among):,}, the cells to choose from."
            raise InputError(msg)
        present = np.flatnonzero(np.isfinite(cells).all(axis=1))
        index = np.full((len(cells), n_neighbors), -1, np.int64)
        distance = np.full((len(cells), n_neighbors), np.nan, np.float32)
        if len(present):
            search = self._exactly if len(self.among) <= EXACT_UP_TO else self._by_index
            index[present], distance[present] = search(_unit(cells[present]), n_neighbors)
        return Neighbors(index, distance)

    def _exactly(self, cells: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        import torch

        columns = torch.from_numpy(self.among).T
        step = max(1, _PRODUCT // len(self.among))
        found = [
            torch.topk(torch.from_numpy(cells[start : start + step]) @ columns, k, dim=1)
            for start in range(0, len(cells), step)
        ]
        similarity, index = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
        return index, 1 - similarity

    def _by_index(self, cells: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        index, distance = self._index.query(cells, k=k, epsilon=_EPSILON)
        return index.astype(np.int64), (distance**2 / 2).astype(np.float32)  # of vectors of length one

    @cached_property
    def _index(self) -> Any:
        from pynndescent import NNDescent

        return NNDescent(self.among, metric="euclidean", n_neighbors=_LINKS, random_state=self.random_state)


def find_in_reference(reference: Reference, embedding: NDArray[np.floating], n_neighbors: int) -> Neighbors:
    """Find the labelled cells of a reference nearest to others, in the space of its discriminant's axes."""
    axes = reference.fine.axes
    if embedding.ndim != 2 or embedding.shape[1] != len(axes):
        msg = f"Found an embedding of shape {embedding.shape}; expected cells x {len(axes)}, by the same model."
        raise InputError(msg)
    return reference.search(embedding.astype(np.float32) @ axes, n_neighbors)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit
