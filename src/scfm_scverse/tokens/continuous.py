"""Continuous tokens: log(1 + counts per 10,000) of every expressed gene of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .kernels import gathered_tokens, scale_rows
from .tokens import Tokens

TARGET_SUM = 1e4


@dataclass(frozen=True)
class LogValues:
    """Tokeniser for models that read log-normalised expression.

    Attributes
    ----------
    columns
        int32 [g]: vocabulary position of each column of the matrix, -1 for columns that the model does not know.
        Columns of one gene are added before the logarithm.
    counted
        bool [g]: columns that count towards a cell's total (spike-ins and summary rows do not).
    n_genes
        Size of the vocabulary.
    base
        Base of the logarithm that the matrix is in, 0 for counts and other linear values.
    """

    columns: NDArray[np.int32]
    counted: NDArray[np.bool_]
    n_genes: int
    base: float = 0.0

    def __call__(self, block: sp.csr_matrix) -> Tokens:
        """Tokenise a canonical CSR block of non-negative values, [n, g]."""
        linear = block.data if self.base == 0 else np.expm1(block.data * np.float32(np.log(self.base)))
        starts = block.indptr.astype(np.int64)
        indices, data = block.indices.astype(np.int32, copy=False), linear.astype(np.float32, copy=False)
        indptr, ids, values = gathered_tokens(starts, indices, data, self.columns, self.n_genes)
        scale_rows(indptr, values, starts, indices, data, self.counted, TARGET_SUM)
        # Not log1p, which numpy does not vectorise: five times as fast, and off by less than 3e-7.
        values += np.float32(1)
        np.log(values, out=values)
        measured = np.zeros(self.n_genes, bool)
        measured[self.columns[self.columns >= 0]] = True
        return Tokens(indptr, ids, values, measured)
