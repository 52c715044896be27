"""Perturbation as an edit of tokens: a deleted gene's token goes, an overexpressed one stands in front (Geneformer)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..tokens import Tokens
from .baselines import Baselines, find_baselines
from .copies import Copies, Mode
from .edits import count_present, delete, drop_bare, overexpress
from .holders import holders_of_tokens


@dataclass(frozen=True)
class TokenEdits:
    """Cells whose copies lose tokens or get them in front.

    Attributes
    ----------
    tokens
        Tokens of the cells.
    special
        Which entries of the vocabulary are no genes [v].
    context
        Tokens of a cell at most, special ones included.
    mode
        ``"original"`` compares an overexpressed cell with one that is cut more than needed, and keeps a cell whose last
        gene is deleted, as Geneformer's program does.
    """

    tokens: Tokens
    special: NDArray[np.bool_]
    context: int
    mode: Mode = "default"

    @cached_property
    def held(self) -> sp.csc_matrix:
        """Which cells hold which genes as tokens [n, v]."""
        return holders_of_tokens(self.tokens)

    def edit(self, copies: Copies) -> Tokens:
        """Make the tokens of copies."""
        taken = self.tokens.take(copies.cell)
        if copies.kind == "delete":
            left = delete(taken, copies.genes)
            return left if self.mode == "original" else drop_bare(left, self.special)
        return overexpress(taken, copies.genes, self.special, self.context)

    def compared_with(self, copies: Copies) -> Baselines:
        """Find the cells that copies are compared with.

        Where overexpressed genes push others out of the context, the cell loses those too. The original cuts a cell
        off by more than that where it is a few tokens shorter than the context.
        """
        excess = np.zeros(len(copies), np.int64)
        if copies.kind == "overexpress" and not copies.each:
            taken = self.tokens.take(copies.cell)
            absent = copies.genes.shape[1] - count_present(taken, copies.genes)
            grown = taken.lengths + absent
            cut_before = np.minimum(grown, self.context) + absent if self.mode == "original" else grown
            excess = np.maximum(0, cut_before - self.context)
        return find_baselines(self.tokens, copies.cell, excess, self.special)
