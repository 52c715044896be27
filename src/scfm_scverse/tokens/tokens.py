"""Ragged tokens of many cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Tokens:
    """Tokens of ``n`` cells, one after the other.

    Attributes
    ----------
    indptr
        int64 [n + 1]: the tokens of cell ``i`` are ``indptr[i]:indptr[i + 1]``.
    ids
        int32 [t]: position of each token's gene in the vocabulary of the model.
    values
        float32 [t]: value of each token.
    measured
        bool [v]: genes of the vocabulary that the data set measured. Such a gene without a token is zero; any other
        gene is unknown. Shared by all cells.
    extra
        Numbers of each cell that a model needs beside its tokens, name -> [n].
    """

    indptr: NDArray[np.int64]
    ids: NDArray[np.int32]
    values: NDArray[np.float32]
    measured: NDArray[np.bool_]
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.indptr[0] != 0 or self.indptr[-1] != len(self.ids) or len(self.ids) != len(self.values):
            msg = (
                f"indptr ends at {self.indptr[-1]} for {len(self.ids)} ids and {len(self.values)} values; "
                "expected the same number thrice."
            )
            raise ValueError(msg)

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each cell, [n]."""
        return np.diff(self.indptr)

    def take(self, cells: NDArray[np.integer]) -> Tokens:
        """Return the tokens of some cells, in the order asked for."""
        lengths = self.lengths[cells]
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        source = np.repeat(self.indptr[cells] - indptr[:-1], lengths) + np.arange(indptr[-1])
        extra = {name: numbers[cells] for name, numbers in self.extra.items()}
        return replace(self, indptr=indptr, ids=self.ids[source], values=self.values[source], extra=extra)
