"""Continuous tokens: log(1 + counts per 10,000) of every expressed gene of the vocabulary."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .blocks import log_of_one_more, measured_genes, parts_of
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
        starts, indices, data = parts_of(block, self.base)
        indptr, ids, values = gathered_tokens(starts, indices, data, self.columns, self.n_genes)
        scale_rows(indptr, values, starts, indices, data, self.counted, TARGET_SUM)
        log_of_one_more(values)
        return Tokens(indptr, ids, values, measured_genes(self.columns, self.n_genes))
