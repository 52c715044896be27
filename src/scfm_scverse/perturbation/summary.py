"""One row of numbers for each perturbation of a screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .copies import factor_of
from .expression_space import PlacedCells
from .null import Null, row_means
from .screen import Measured, Weights
from .significance import among_genes_p, donor_p, permutation_p, rank_sum_p

Test = Literal["genes", "ranksum", "permutation"]
NUMBERS = (
    "n_cells",
    "n_donors",
    "expression",
    "effect",
    "effect_sd",
    "score",
    "score_sd",
    "null_mean",
    "null_sd",
    "log10_p",
    "baseline_effect",
    "baseline_shift",
)
"""Numbers of each row; the shift to each state follows."""
TINY = 1e-9  # an effect that is none
SMALLEST = 1e-300  # p-value that is told apart from 0


@dataclass(frozen=True)
class Testing:
    """How effects are tested.

    Attributes
    ----------
    towards
        Weights of the shifts to states whose sum is the score; ``None`` tests the effect, which is 0 or more, on one
        side.
    test
        Whether genes are the units, or cells: by ranks, or by permutation of the means.
    n_permutations
        Draws of a permutation test.
    donors
        int64 [n]: donor of each cell, -1 for none, if an effect must repeat over donors.
    random_state
        Seed.
    """

    towards: Weights | None
    test: Test
    n_permutations: int
    donors: NDArray[np.int64] | None
    random_state: int

    def p_value(
        self,
        genes: NDArray[np.integer],
        cells: NDArray[np.int64],
        values: NDArray[np.float32],
        null: NDArray[np.float32],
    ) -> float:
        """Test values of genes in some cells [q] against those of matched perturbations, [m, n] of all cells."""
        alternative: Literal["two-sided", "greater"] = "greater" if self.towards is None else "two-sided"
        if self.test == "genes":
            among = self._among_genes(float(values.mean()), row_means(null))
            # What is claimed is both, so the p-value is the larger one.
            if self.donors is None:
                return among
            return float(np.maximum(among, self._by_donor(cells, values, null, alternative)))
        if self.donors is not None:
            return self._by_donor(cells, values, null, alternative)
        if self.test == "ranksum":
            return rank_sum_p(values, null.ravel(), alternative)
        # The same draws whatever was asked for beside it, and in whichever order.
        rng = np.random.default_rng((self.random_state, *sorted(genes.tolist())))
        return permutation_p(values, null.ravel(), self.n_permutations, rng, alternative=alternative)

    def _among_genes(self, mean: float, null_means: NDArray[np.float64]) -> float:
        """Test the mean against those of other genes; effects, which are skewed, by their logarithms."""
        if self.towards is not None:
            return among_genes_p(mean, null_means)
        return among_genes_p(float(np.log(max(mean, TINY))), np.log(np.maximum(null_means, TINY)), "greater")

    def _by_donor(
        self,
        cells: NDArray[np.int64],
        values: NDArray[np.float32],
        null: NDArray[np.float32],
        alternative: Literal["two-sided", "greater"],
    ) -> float:
        how: Literal["t", "permutation"] = "permutation" if self.test == "permutation" else "t"
        known = self.donors if self.donors is not None else np.zeros(0, np.int64)
        donors = np.tile(known, len(null))
        return donor_p(values, known[cells], null.ravel(), donors, alternative=alternative, test=how)

    def n_donors(self, cells: NDArray[np.int64]) -> int:
        """How many donors some cells are of; 0 if donors are not asked about."""
        if self.donors is None:
            return 0
        donors = self.donors[cells]
        return len(np.unique(donors[donors >= 0]))


@dataclass(frozen=True)
class Baseline:
    """The simple model beside the large one: what the edited values alone do in the space of principal components.

    Attributes
    ----------
    cells
        The cells among principal components of expression.
    column_of
        int64 [v]: column of each gene of the vocabulary.
    states
        [s, c]: positions of the states, the goal first; ``None`` without states.
    """

    cells: PlacedCells
    column_of: NDArray[np.int64]
    states: NDArray[np.floating] | None

    def shift(self, measured: Measured) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Effect [m], and shift to each state [m, s], of each copy."""
        columns = self.column_of[measured.copies.genes]
        factor = factor_of(measured.copies.kind, measured.copies.dose)
        return self.cells.shift(measured.copies.cell, columns, factor, self.states)

    def expression(self, measured: Measured) -> NDArray[np.float64]:
        """Mean ``log1p`` of counts per 10,000 of the perturbed genes in the cell of each copy [m]."""
        columns = self.column_of[measured.copies.genes]
        row = np.repeat(measured.copies.cell, columns.shape[1])
        values = np.asarray(self.cells.scaled[row, columns.ravel()]).reshape(columns.shape)
        return np.asarray(np.log1p(values).mean(axis=1))


def summarise(
    measured: Measured, perturbations: list[NDArray[np.int32]], null: Null, baseline: Baseline, testing: Testing
) -> NDArray[np.float32]:
    """Summarise the perturbations of a part of a screen.

    Parameters
    ----------
    measured
        The part.
    perturbations
        Genes of all perturbations of the screen.
    null
        What they are compared with.
    baseline
        The simple model.
    testing
        How they are tested.

    Returns
    -------
    float32 [q, len(NUMBERS) + s].
    """
    effect, shifts = baseline.shift(measured)
    toward = np.full(len(effect), np.nan) if testing.towards is None else shifts @ np.array(testing.towards)
    expression = baseline.expression(measured)
    scores = measured.score(testing.towards)
    n_states = measured.to_states.shape[1]
    rows = np.full((len(measured.perturbations), len(NUMBERS) + n_states), np.nan, np.float32)
    for row, at in zip(rows, measured.perturbations.tolist(), strict=True):
        here = np.flatnonzero((measured.perturbation == at) & ~np.isnan(scores))
        if not len(here):
            row[0] = 0
            continue
        cells = measured.copies.cell[here]
        like = null.like(perturbations[at])
        means = null.means[like]
        p = testing.p_value(perturbations[at], cells, scores[here], null.scores[like])
        row[: len(NUMBERS)] = (
            len(here),
            testing.n_donors(cells),
            expression[here].mean(),
            measured.effect[here].mean(),
            measured.effect[here].std(),
            scores[here].mean(),
            scores[here].std(),
            _mean(means),
            _spread(means),
            np.log10(p if np.isnan(p) else max(p, SMALLEST)),
            _mean(effect[here]),
            _mean(toward[here]),
        )
        row[len(NUMBERS) :] = measured.to_states[here].mean(axis=0)
    return rows


def _mean(values: NDArray[np.float64]) -> float:
    """Mean without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation without NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.std()) if len(known) else np.nan
