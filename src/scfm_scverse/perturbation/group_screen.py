"""The screen of one group of cells: null, exact runs, summaries; what is finished is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..inference import Partial
from ..inference.device import Dtype
from ..models import CellModel
from .copies import Kind
from .effects import Reading
from .matching import ExpressionRanks, draw_null
from .null import Null, gather_scores
from .pairs import Edits
from .screen import run_screen
from .summary import Baseline, Testing, summarise

Perturbations = list[NDArray[np.int32]]


@dataclass(frozen=True)
class GroupScreen:
    """Cells of one group, and how they are perturbed and judged.

    Attributes
    ----------
    model, edits, reading
        The model, the cells, and what is read of them.
    kind
        What happens to genes.
    ranks
        How each gene of the vocabulary stands in the cells.
    baseline, testing
        The simple model beside it, and the test.
    device, batch_size
        How the model runs.
    """

    model: CellModel
    edits: Edits
    reading: Reading
    kind: Kind
    ranks: ExpressionRanks
    baseline: Baseline
    testing: Testing
    device: str
    batch_size: int | None

    def draw(self, n: int, asked: Perturbations, min_cells: int) -> Perturbations:
        """Draw genes to compare with, as many together as are perturbed together; if possible none that is asked for."""
        held = np.diff(self.edits.held.indptr) >= min_cells
        candidates = np.flatnonzero(held & (self.baseline.column_of >= 0))
        named = np.unique(np.concatenate(asked))
        others = np.setdiff1d(candidates, named)
        excluded = named if len(others) >= n else named[:0]
        rng = np.random.default_rng(self.testing.random_state)
        drawn: Perturbations = []
        for size in sorted({len(genes) for genes in asked}):
            drawn += list(draw_null(self.ranks.features, candidates, excluded, n, rng, size=size).astype(np.int32))
        return drawn

    def compare_with(
        self, drawn: Perturbations, dose: float, keep: Partial | None, advance: Callable[[int], object]
    ) -> Null:
        """Run what perturbations are compared with."""
        n_cells = len(self.edits.tokens)
        left = _left(len(drawn), keep)
        parts = self._run([drawn[at] for at in left.tolist()], dose, "float32", advance)
        new = gather_scores(parts, len(left), n_cells, self.testing.goal)
        scores = np.full((len(drawn), n_cells), np.nan, np.float32)
        if keep is not None and keep.rows is not None:
            scores[keep.done] = keep.rows[keep.done]
        scores[left] = new
        if keep is not None and len(left):
            keep.add(left, new)
        width = max(map(len, drawn))
        genes = np.array([[*one.tolist(), *[-1] * (width - len(one))] for one in drawn], np.int64)
        return Null(genes, scores, self.ranks.features)

    def test(
        self,
        perturbations: Perturbations,
        dose: float,
        null: Null,
        keep: Partial | None,
        advance: Callable[[int], object],
    ) -> NDArray[np.float32]:
        """Run perturbations and summarise each, [p, numbers]."""
        left = _left(len(perturbations), keep)
        rows = keep.rows.copy() if keep is not None and keep.rows is not None else None
        some = [perturbations[at] for at in left.tolist()]
        for part in self._run(some, dose, "float32", advance):
            # The number of a perturbation seeds its test, so it must not depend on what was finished before.
            here = replace(part, perturbations=left[part.perturbations], perturbation=left[part.perturbation])
            found = summarise(here, perturbations, null, self.baseline, self.testing, self.ranks.expression)
            if rows is None:
                rows = np.full((len(perturbations), found.shape[1]), np.nan, np.float32)
            rows[here.perturbations] = found
            if keep is not None:
                keep.add(here.perturbations, found)
        return np.zeros((0, 0), np.float32) if rows is None else rows

    def rank_first(
        self, perturbations: Perturbations, dose: float, dtype: Dtype, advance: Callable[[int], object]
    ) -> NDArray[np.float64]:
        """Mean score of each perturbation [p], without any test."""
        means = np.full(len(perturbations), np.nan)
        for part in self._run(perturbations, dose, dtype, advance):
            scores = part.score(self.testing.goal)
            known = ~np.isnan(scores)
            count = np.bincount(part.perturbation[known], minlength=len(means))
            total = np.bincount(part.perturbation[known], scores[known], minlength=len(means))
            means[count > 0] = total[count > 0] / count[count > 0]
        return means

    def _run(self, perturbations: Perturbations, dose: float, dtype: Dtype, advance: Callable[[int], object]) -> Any:
        return run_screen(
            self.model,
            self.edits,
            perturbations,
            self.kind,
            dose,
            self.reading,
            device=self.device,
            dtype=dtype,
            batch_size=self.batch_size,
            advance=advance,
        )


def _left(n: int, keep: Partial | None) -> NDArray[np.int64]:
    """Positions of what is not finished."""
    return np.arange(n) if keep is None else np.flatnonzero(~keep.done)
