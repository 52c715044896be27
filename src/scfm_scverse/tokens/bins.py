"""Binned tokens: expression of a gene as one of 50 bins between quantiles of its cell (scGPT)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .binning import binned_tokens, cell_keys
from .blocks import measured_genes, parts_of
from .tokens import Tokens

Ties = Literal["hash", "middle", "high"]
Sampling = Literal["hash", "top"]

# Where in its range of bins a tied value lies, from the highest (0) to the lowest (2**32).
_PLACE = {"hash": -1, "middle": 2**31, "high": 0}


@dataclass(frozen=True)
class Bins:
    """Tokeniser of scGPT: expressed genes with their bin, and one special token in front.

    The edges are the quantiles 0, 1/49, ..., 1 of the expressed genes of the cell (for 51 bins, of which 0 stands for
    no expression). Many genes have the same small count, and several edges lie on it: such a gene may be in any of the
    bins between them, and the authors draw one. Bins do not change with the scale of a cell, nor with a logarithm.

    Attributes
    ----------
    columns
        int32 [g]: vocabulary position of each column of the matrix, -1 for columns that the model does not know.
        Columns of one gene are added.
    n_genes
        Size of the vocabulary, special tokens included.
    first, first_value
        Position and value of the token in front of each cell that expresses anything.
    base
        Base of the logarithm that the matrix is in, 0 for linear values.
    n_bins
        Bins, that of no expression included.
    max_length
        Tokens of a cell at most, that in front included; bins are told before any is left out.
    ties
        Which of its bins such a gene gets: ``"hash"`` draws by the cell's set of expressed genes, the gene and
        ``seed``, so that nothing else matters; ``"middle"`` and ``"high"`` take the middle and the highest one.
    sampling
        Which genes of a longer cell are kept: drawn in the same way, or the largest values.
    seed
        Another number draws otherwise.

    References
    ----------
    Cui et al. scGPT: toward building a foundation model for single-cell multi-omics using generative AI. Nature
    Methods 21, 1470-1480 (2024).
    """

    columns: NDArray[np.int32]
    n_genes: int
    first: int
    first_value: float
    base: float = 0.0
    n_bins: int = 51
    max_length: int = 1200
    ties: Ties = "hash"
    sampling: Sampling = "hash"
    seed: int = 0

    def __call__(self, block: sp.csr_matrix, keys: NDArray[np.uint64] | None = None) -> Tokens:
        """Tokenise a canonical CSR block of positive values, [n, g]; ``keys`` [n] draw as for other cells."""
        indptr, ids, bins = binned_tokens(
            *self._parts(block),
            self._unseen,
            shares_of_edges(self.n_bins),
            self.keys(block) if keys is None else keys,
            _PLACE[self.ties],
            int(self.sampling == "top"),
            self.max_length - 1,
            self.first,
            self.first_value,
        )
        return Tokens(indptr, ids, bins, self.measured)

    def keys(self, block: sp.csr_matrix) -> NDArray[np.uint64]:
        """Return what decides the draws of each cell: its set of expressed genes, and the seed, as a number [n]."""
        keys: NDArray[np.uint64] = cell_keys(*self._parts(block), self._unseen, np.uint64(self.seed))
        return keys

    def _parts(
        self, block: sp.csr_matrix
    ) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32], NDArray[np.int32]]:
        # A logarithm changes no bin, but logarithms cannot be added.
        return *parts_of(block, self.base if self._shared else 0.0), self.columns

    @property
    def _unseen(self) -> NDArray[np.int64]:
        return np.full(self.n_genes if self._shared else 0, -1, np.int64)

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Genes of the vocabulary that have a column, [v]."""
        return measured_genes(self.columns, self.n_genes)

    @cached_property
    def _shared(self) -> bool:
        return int(self.measured.sum()) < int((self.columns >= 0).sum())


def shares_of_edges(n_bins: int) -> NDArray[np.float64]:
    """Shares of the expressed genes that lie below each edge, [n_bins - 1]."""
    return np.linspace(0, 1, n_bins - 1)
