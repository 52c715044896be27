"""The simple baseline beside every effect: what a change of expression does in a space of principal components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._errors import InputError

TARGET_SUM = 1e4
MAX_CELLS = 2000  # that components are fitted on: more cost time and hardly change them
COPIES = 1 << 16  # that are moved at a time


def log_normalized(block: sp.csr_matrix) -> sp.csr_matrix:
    """Return ``log1p`` of counts per 10,000 of each cell, from linear values [n, g]."""
    values = _scaled(block)
    np.log1p(values.data, out=values.data)
    return values


@dataclass(frozen=True)
class ExpressionSpace:
    """Principal components of ``log1p`` of counts per 10,000, over all genes.

    Positions are relative to the mean of the cells that the space was fitted on, so that cosines are of deviations from
    the average cell: 1 for two cells that deviate from it in the same way, however far.

    Attributes
    ----------
    center
        float64 [g]: mean of the fitted cells.
    loadings
        float64 [g, c]: components, of length 1 each.
    """

    center: NDArray[np.float64]
    loadings: NDArray[np.float64]

    @classmethod
    def fit(cls, block: sp.csr_matrix, *, n_components: int = 50, random_state: int = 0) -> ExpressionSpace:
        """Find the principal components of cells, without making them dense.

        Parameters
        ----------
        block
            CSR rows of linear values, [n, g]; of more than 2,000 cells that many are drawn.
        n_components
            Number of components; fewer where there are not as many cells or genes.
        random_state
            Seed of the draw and of the solver.

        Raises
        ------
        InputError
            Fewer than two cells or genes.

        Examples
        --------
        >>> import numpy as np
        >>> import scipy.sparse as sp
        >>> from scfm_scverse.perturbation import ExpressionSpace
        >>> cells = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (40, 9)))
        >>> space = ExpressionSpace.fit(cells, n_components=3)
        >>> space.project(cells).shape
        (40, 3)
        >>> effect, _ = space.place(cells).shift(np.array([0, 1]), np.array([[4], [4]]), 0.0)
        >>> effect.shape
        (2,)
        """
        from sklearn.decomposition import PCA

        n_components = min(n_components, *(size - 1 for size in block.shape))
        if n_components < 1:
            msg = (
                f"Found {block.shape[0]} cells and {block.shape[1]} genes; expected at least two of each to find "
                "principal components. Pass more cells."
            )
            raise InputError(msg)
        if block.shape[0] > MAX_CELLS:
            drawn = np.random.default_rng(random_state).choice(block.shape[0], MAX_CELLS, replace=False)
            block = block[np.sort(drawn)]
        cells = log_normalized(block).astype(np.float32)
        found = PCA(n_components, svd_solver="arpack", random_state=random_state).fit(cells)
        center, loadings = np.ravel(found.mean_), np.ascontiguousarray(found.components_.T)
        return cls(center.astype(np.float64), loadings.astype(np.float64))

    def project(self, block: sp.csr_matrix) -> NDArray[np.float64]:
        """Positions [n, c] of cells, from linear values [n, g]."""
        return np.asarray(log_normalized(block) @ self.loadings - self.center @ self.loadings)

    def place(self, block: sp.csr_matrix) -> PlacedCells:
        """Place cells whose copies will be moved, from canonical CSR rows of linear values, [n, g]."""
        scaled = _scaled(block)
        return PlacedCells(self, scaled, scaled.max(axis=1).toarray().ravel(), self.project(block))


@dataclass(frozen=True)
class PlacedCells:
    """Cells and where they lie: what all their copies share.

    Attributes
    ----------
    space
        The components.
    scaled
        Counts per 10,000, CSR [n, g].
    largest
        float64 [n]: largest of these in each cell.
    positions
        float64 [n, c].
    """

    space: ExpressionSpace
    scaled: sp.csr_matrix
    largest: NDArray[np.float64]
    positions: NDArray[np.float64]

    def shift(
        self,
        row: NDArray[np.integer],
        columns: NDArray[np.integer],
        factor: float | Literal["largest"],
        states: NDArray[np.floating] | None = None,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Move copies of cells by a change of the values of some genes, and measure how their directions turn.

        All other values stay, and so does the total that a cell is scaled by: the change is in the perturbed genes
        alone.

        Parameters
        ----------
        row
            [b]: which cell each copy is made of.
        columns
            [b, k]: genes that are perturbed in each copy, each once; -1 for none.
        factor
            What their values are multiplied by: 0 to delete, less than 1 to inhibit, more than 1 to activate.
            ``"largest"`` sets them to the largest value of the cell.
        states
            [s, c]: positions to compare with, as the mean of :meth:`ExpressionSpace.project` over the cells of a state.

        Returns
        -------
        effect
            [b]: 1 - cosine between the positions of the copy and of the cell.
        shift
            [b, s]: change of the cosine to each state, positive if the copy is nearer; [b, 0] without states.

        Both are NaN for a cell, copy or state that lies in the centre itself, which has no direction.
        """
        own, loadings = self.positions, self.space.loadings
        states = np.empty((0, loadings.shape[1])) if states is None else np.asarray(states, np.float64)
        before = _cosines(own, states)
        effect, shift = np.empty(len(row)), np.empty((len(row), len(states)))
        for start in range(0, len(row), COPIES):
            some = slice(start, start + COPIES)
            cell, genes = row[some], columns[some]
            moved = own[cell] + np.einsum("bk,bkc->bc", self._change(cell, genes, factor), loadings[genes])
            effect[some] = 1 - _cosine(moved, own[cell])
            shift[some] = _cosines(moved, states) - before[cell]
        return effect, shift

    def _change(
        self, row: NDArray[np.integer], columns: NDArray[np.integer], factor: float | Literal["largest"]
    ) -> NDArray[np.float64]:
        """Differences [b, k] that perturbation makes to ``log1p`` of the values."""
        values = np.asarray(self.scaled[np.repeat(row, columns.shape[1]), columns.ravel()]).reshape(columns.shape)
        new = self.largest[row, None] if factor == "largest" else values * factor
        return np.where(columns >= 0, np.log1p(new) - np.log1p(values), 0.0)


def _scaled(block: sp.csr_matrix) -> sp.csr_matrix:
    """Counts per 10,000 of each cell; nothing for an empty one."""
    total = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
    scale = np.divide(TARGET_SUM, total, out=np.zeros(len(total)), where=total > 0)
    values = block.data * np.repeat(scale, np.diff(block.indptr))
    return sp.csr_matrix((values, block.indices, block.indptr), block.shape)


def _cosine(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines of the rows of one array with those of another, NaN where one is zero."""
    product = np.einsum("bc,bc->b", one, other)
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    return np.asarray(np.divide(product, lengths, out=np.full(len(product), np.nan), where=lengths > 0))


def _cosines(positions: NDArray[np.float64], states: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine [n, s] of each position to each state, NaN where one is zero."""
    lengths = np.linalg.norm(positions, axis=1)[:, None] * np.linalg.norm(states, axis=1)
    return np.asarray(np.divide(positions @ states.T, lengths, out=np.full(lengths.shape, np.nan), where=lengths > 0))
