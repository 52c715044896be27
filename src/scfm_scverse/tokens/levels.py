"""Tokens of logarithmic levels: how often a gene's share of a cell's counts doubles, as scBERT reads it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .blocks import measured_genes, parts_of
from .kernels import gathered_tokens
from .leveling import to_levels
from .tokens import Tokens

TARGET_SUM = 1e4
# Logarithms were rounded when they were written: what they stand for is known up to so much of it.
_ROUNDED = 1e-6


@dataclass(frozen=True)
class Levels:
    """Tokeniser of scBERT: ``log2(1 + counts per 10,000 of the model's genes)``, at most 5, cut to a whole number.

    Level 0 is a gene below one count per 10,000, level ``k`` one of at least ``2^k - 1``. Whole counts are compared
    exactly.

    Attributes
    ----------
    columns
        int32 [g]: vocabulary position of each column of the matrix, -1 for columns that the model does not know.
        Columns of one gene are added first.
    n_genes
        Size of the vocabulary.
    base
        Base of the logarithm that the matrix is in, 0 for counts and other linear values. The scale of the values does
        not matter.
    """

    columns: NDArray[np.int32]
    n_genes: int
    base: float = 0.0

    def __call__(self, block: sp.csr_matrix) -> Tokens:
        """Tokenise a canonical CSR block of non-negative values, [n, g].

        Returns
        -------
        A token for every expressed gene; its value is the level, 0 to 5. ``extra["n_genes"]`` counts the tokens of a
        cell: the authors leave cells with fewer than 200 out.
        """
        indptr, ids, values = gathered_tokens(*parts_of(block, self.base), self.columns, self.n_genes)
        to_levels(indptr, values, TARGET_SUM, 0.0 if self.base == 0 else _ROUNDED)
        measured = measured_genes(self.columns, self.n_genes)
        return Tokens(indptr, ids, values, measured, {"n_genes": np.diff(indptr)})
