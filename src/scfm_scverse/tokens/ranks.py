"""Rank tokens: the expressed genes of a cell from the one furthest above its typical level downwards (Geneformer)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .blocks import measured_genes, parts_of
from .ranking import add_up, ranked_tokens
from .tokens import Tokens


@dataclass(frozen=True)
class Ranks:
    """Tokeniser for models that read the order of genes: position 1 is the highest.

    A gene's rank value is its count over its median in the pretraining corpus, in float64. Equal values stand in the
    order of the slots; so the tokens do not depend on the order of the columns where a slot is a gene.

    Attributes
    ----------
    columns
        int32 [g]: slot of each column of the matrix, -1 for columns that the model does not know. Columns of one slot
        are added up.
    genes
        int32 [s]: position in the vocabulary of each slot. With a slot for each entry of the vocabulary no gene
        stands twice in a cell.
    medians
        float64 [s]: median of each slot's gene; those of special tokens are not read.
    n_genes
        Size of the vocabulary.
    context
        Tokens of a cell at most; the lowest ranks are cut off.
    around
        Tokens that stand before and after the genes of a cell; they count towards ``context``.
    base
        Base of the logarithm that the matrix is in, 0 for counts and other linear values.
    keep_zeros
        Whether zeros that the matrix stores become tokens, the last ones.
    """

    columns: NDArray[np.int32]
    genes: NDArray[np.int32]
    medians: NDArray[np.float64]
    n_genes: int
    context: int
    around: tuple[int, int] | None = None
    base: float = 0.0
    keep_zeros: bool = False

    def __call__(self, block: sp.csr_matrix) -> Tokens:
        """Tokenise a CSR block of non-negative values, [n, g]; the tokens' values are the cell's linear ones."""
        if not self.keep_zeros and (block.data == 0).any():
            block = block.copy()
            block.eliminate_zeros()
        indptr, indices, data = parts_of(block, self.base)
        shared = self._shared
        if shared.any():
            data = data.copy()
            add_up(indptr, indices, data, self.columns, shared, np.full(len(self.genes), -1))
        genes, medians = self.genes[self.columns], self.medians[self.columns]
        around = np.array(self.around or (), np.int32)
        indptr, ids, values = ranked_tokens(indptr, indices, data, self.columns, genes, medians, around, self.context)
        measured = measured_genes(np.where(self.columns >= 0, genes, -1), self.n_genes)
        return Tokens(indptr, ids, values, measured)

    @cached_property
    def _shared(self) -> NDArray[np.bool_]:
        """Columns whose slot other columns share, [g]."""
        _, which, times = np.unique(self.columns, return_inverse=True, return_counts=True)
        return (times[which] > 1) & (self.columns >= 0)
