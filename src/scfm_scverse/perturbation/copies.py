"""Which cells are perturbed and how: one row for each edited copy of a cell."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError
from ..models import ModelSpec
from ..tokens import Tokens
from .edits import count_present, places
from .holders import holders_of_tokens

Kind = Literal["delete", "overexpress", "inhibit", "activate"]
Mode = Literal["default", "original"]
"""``"original"`` repeats what Geneformer's program does where this package does otherwise."""


def special_tokens(spec: ModelSpec) -> NDArray[np.bool_]:
    """Which entries of a model's vocabulary are no genes [v]: their names stand in angle brackets."""
    return np.char.startswith(spec.genes, "<")


@dataclass(frozen=True)
class Copies:
    """Which copies of cells are edited; the tokens themselves are made when they are needed.

    Attributes
    ----------
    kind
        What happens to the genes.
    cell
        int64 [p]: the cell that each is a copy of.
    genes
        int32 [p, k]: genes that are perturbed together in each copy.
    each
        Whether the copies are one for each gene of a cell, and not one for each cell.
    dose
        By which share expression falls (inhibit), or rises (activate).
    """

    kind: Kind
    cell: NDArray[np.int64]
    genes: NDArray[np.int32]
    each: bool
    dose: float = 1.0

    @property
    def perturbed(self) -> pd.Series[Any]:
        """What each copy is filed under: the gene that is not the anchor, or the tuple of the genes of a list."""
        if self.each or self.genes.shape[1] == 1:
            return pd.Series(self.genes[:, 0], dtype=np.int64)
        return pd.Series(list(map(tuple, self.genes.tolist())), dtype=object)

    def __len__(self) -> int:
        return len(self.cell)

    def take(self, rows: NDArray[np.integer]) -> Copies:
        """Return some copies, in the order asked for."""
        return replace(self, cell=self.cell[rows], genes=self.genes[rows])


def factor_of(kind: Kind, dose: float) -> float | Literal["largest"]:
    """What the values of perturbed genes are multiplied by; ``"largest"`` is the largest value of the cell instead."""
    if kind == "overexpress":
        return "largest"
    return {"delete": 0.0, "inhibit": 1 - dose, "activate": 1 + dose}[kind]


def perturb_each(
    tokens: Tokens, kind: Kind, special: NDArray[np.bool_], *, anchor: int | None = None, mode: Mode = "default"
) -> Copies:
    """Perturb every gene of every cell, one at a time.

    Overexpression leaves out the first gene of a cell, which nothing could put further to the front.

    Parameters
    ----------
    tokens
        Tokens of cells [n].
    kind
        What happens to the gene.
    special
        Which entries of the vocabulary are special tokens [v].
    anchor
        Gene that is perturbed together with every other one, in the cells that hold it.
    mode
        ``"original"`` puts the copies of the longest cells first.

    Returns
    -------
    Copies whose ``genes[:, 0]`` is the gene, ``genes[:, 1]`` the anchor.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.perturbation import perturb_each
    >>> from scfm_scverse.tokens import Tokens
    >>> tokens = Tokens(np.array([0, 3]), np.array([4, 2, 7], np.int32), np.ones(3, np.float32), np.ones(8, bool))
    >>> perturb_each(tokens, "overexpress", np.zeros(8, bool)).genes.tolist()
    [[2], [7]]
    """
    cell, _ = places(tokens)
    tested = ~special[tokens.ids]
    if kind == "overexpress":
        first = np.flatnonzero(tested)
        tested[first[np.unique(cell[first], return_index=True)[1]]] = False
    if anchor is not None:
        tested &= (tokens.ids != anchor) & (count_present(tokens, np.array([anchor], np.int32))[cell] > 0)
    genes = tokens.ids[tested][:, None]
    if anchor is not None:
        genes = np.concatenate([genes, np.full_like(genes, anchor)], axis=1)
    return _planned(Copies(kind, cell[tested], genes, each=True), tokens, mode)


def perturb_together(
    tokens: Tokens,
    kind: Kind,
    genes: NDArray[np.int32],
    *,
    mode: Mode = "default",
) -> Copies:
    """Perturb some genes together: overexpressed in every cell, otherwise in the cells that hold all of them.

    Parameters
    ----------
    tokens
        Tokens of cells [n].
    kind
        What happens to the genes.
    genes
        Positions in the vocabulary [k].
    mode
        ``"original"`` puts the longest cells first.

    Raises
    ------
    InputError
        No gene, a gene twice, or one that is not in the vocabulary.

    Examples
    --------
    >>> import numpy as np
    >>> from scfm_scverse.perturbation import perturb_together
    >>> from scfm_scverse.tokens import Tokens
    >>> ids = np.array([4, 2, 7, 4], np.int32)
    >>> tokens = Tokens(np.array([0, 3, 4]), ids, np.ones(4, np.float32), np.ones(8, bool))
    >>> perturb_together(tokens, "delete", np.array([2, 4], np.int32)).cell.tolist()
    [0]
    >>> perturb_together(tokens, "overexpress", np.array([2], np.int32)).cell.tolist()
    [0, 1]
    """
    known = genes[(genes >= 0) & (genes < len(tokens.measured))]
    if len(genes) == 0 or len(np.unique(known)) < len(genes):
        msg = (
            f"Found the genes {genes.tolist()}; expected one or more, each once, from 0 to {len(tokens.measured) - 1}."
        )
        raise InputError(msg)
    return _planned(copies_of(holders_of_tokens(tokens), genes, kind), tokens, mode)


def copies_of(
    held: sp.csc_matrix,
    genes: NDArray[np.int32],
    kind: Kind,
    *,
    dose: float = 1.0,
    any_of: bool = False,
    cells: NDArray[np.int64] | None = None,
) -> Copies:
    """Perturb genes together in the cells that hold them all; overexpress them in every cell.

    Parameters
    ----------
    held
        Which cells hold which genes [n, v].
    genes
        Positions in the vocabulary [k].
    kind, dose
        What happens to them.
    any_of
        Whether a cell that holds one of the genes is enough.
    cells
        Cells to choose among; all if ``None``.
    """
    among = np.arange(held.shape[0]) if cells is None else cells
    if kind != "overexpress":
        found = [held.indices[held.indptr[gene] : held.indptr[gene + 1]] for gene in genes.tolist()]
        times = np.bincount(np.concatenate(found), minlength=held.shape[0])
        among = among[times[among] >= (1 if any_of else len(genes))]
    return Copies(kind, among, np.tile(genes, (len(among), 1)).astype(np.int32), each=False, dose=dose)


def _planned(copies: Copies, tokens: Tokens, mode: Mode) -> Copies:
    """Leave out copies without any token left, and put the others in order."""
    lengths = tokens.lengths[copies.cell]
    rows = np.flatnonzero(lengths > (copies.genes.shape[1] if copies.kind == "delete" else 0))
    return copies.take(rows if mode == "default" else rows[np.argsort(-lengths[rows], kind="stable")])
