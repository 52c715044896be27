"""Perturbation as an edit of what was measured: the cell is tokenised as if measured so. Fits every model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..tokens import Tokens
from ..tokens.blocks import first_columns
from .baselines import Baselines, find_baselines
from .copies import Copies, factor_of
from .holders import holders


@dataclass(frozen=True)
class CountEdits:
    """Cells whose copies have other values of some genes.

    Attributes
    ----------
    block
        Values of the cells, canonical CSR [n, g].
    tokenize
        Tokeniser of a matrix with these columns, and of the total counts of its cells where those are given.
    position
        int32 [g]: position of each column's gene in the vocabulary, -1 for none.
    base
        Base of the logarithm the values are in, 0 for linear values.
    totals
        Total counts of the cells [n], for a model that reads them.
    """

    block: sp.csr_matrix
    tokenize: Callable[..., Tokens]
    position: NDArray[np.int32]
    base: float = 0.0
    totals: NDArray[np.float64] | None = None

    @cached_property
    def tokens(self) -> Tokens:
        """Tokens of the cells as they were measured."""
        return self._tokens_of(self.block, np.arange(self.block.shape[0]))

    @cached_property
    def _keys(self) -> NDArray[np.uint64] | None:
        """What decides the draws of each cell [n], if the tokeniser draws: copies are drawn as their cell is.

        Otherwise the loss of one gene would draw all others anew, and nothing else would be seen.
        """
        keys_of: Callable[[sp.csr_matrix], NDArray[np.uint64]] | None = getattr(self.tokenize, "keys", None)
        return None if keys_of is None else keys_of(self.block)

    @cached_property
    def held(self) -> sp.csc_matrix:
        """Which cells express which genes [n, v]."""
        return holders(self.block.indptr, self.position[self.block.indices], len(self.tokens.measured))

    def edit(self, copies: Copies) -> Tokens:
        """Make the tokens of copies."""
        return self._tokens_of(edit_values(self.block, copies, self.position, self.base), copies.cell)

    def compared_with(self, copies: Copies) -> Baselines:
        """Find the cells that copies are compared with: as they were measured."""
        whole = np.zeros(len(copies), np.int64)
        return find_baselines(self.tokens, copies.cell, whole, np.zeros(len(self.tokens.measured), bool))

    def _tokens_of(self, block: sp.csr_matrix, cell: NDArray[np.int64]) -> Tokens:
        if self._keys is not None:
            return self.tokenize(block, self._keys[cell])
        return self.tokenize(block) if self.totals is None else self.tokenize(block, self.totals[cell])


def edit_values(block: sp.csr_matrix, copies: Copies, position: NDArray[np.int32], base: float = 0.0) -> sp.csr_matrix:
    """Copy rows and change the values of the perturbed genes.

    Deleted genes have 0; inhibited ones are multiplied by ``1 - dose``, activated ones by ``1 + dose``, in linear
    values; overexpressed ones get the largest value of the cell, in the first of their columns.

    Parameters
    ----------
    block
        Canonical CSR [n, g].
    copies
        Which rows, which genes.
    position
        int32 [g]: position of each column's gene in the vocabulary.
    base
        Base of the logarithm the values are in, 0 for linear values.

    Returns
    -------
    Canonical CSR [p, g] without stored zeros.
    """
    rows: sp.csr_matrix = block[copies.cell].astype(np.result_type(block.dtype, np.float32), copy=False)
    row = np.repeat(np.arange(len(copies)), np.diff(rows.indptr))
    gene = position[rows.indices]
    hit = np.zeros(len(gene), bool)
    for column in copies.genes.T:
        hit |= gene == column[row]
    factor = factor_of(copies.kind, copies.dose)
    rows.data[hit] = _times(rows.data[hit], 0.0 if factor == "largest" else factor, base)
    if factor == "largest":
        rows = rows + _largest_values(block, copies, position)
    rows.eliminate_zeros()
    return rows


def _times(values: NDArray[np.floating], factor: float, base: float) -> NDArray[np.floating]:
    if base == 0:
        return values * factor
    scale = math.log(base)
    changed: NDArray[np.floating] = np.log1p(np.expm1(values * scale) * factor) / scale
    return changed


def _largest_values(block: sp.csr_matrix, copies: Copies, position: NDArray[np.int32]) -> sp.csr_matrix:
    """A matrix that holds nothing but the largest value of each copy's cell, in the columns of its genes."""
    first = first_columns(position, int(position.max()) + 1)
    largest = block.max(axis=1).toarray().ravel()[copies.cell]
    n, k = copies.genes.shape
    indptr = np.arange(n + 1) * k
    made = sp.csr_matrix((np.repeat(largest, k), first[copies.genes].ravel(), indptr), shape=(n, block.shape[1]))
    made.sort_indices()
    return made
