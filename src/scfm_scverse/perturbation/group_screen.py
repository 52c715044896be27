"""The screen of one group of cells: null, exact runs, summaries; what is finished is kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..inference import Partial
from ..inference.device import Dtype
from ..models import CellModel
from ..models.base import Sensitive
from .copies import Kind
from .effects import Reading
from .first_order import first_order
from .matching import ExpressionRanks, draw_null
from .null import Null, row_means, score_matrix
from .pairs import Edits
from .screen import Measured, count_copies, run_screen
from .summary import NUMBERS, Baseline, Testing, summarise

Perturbations = list[NDArray[np.int32]]
MORE = 4  # combinations that are drawn for each one: few cells hold most of them


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

    def draw(self, n: int, sizes: set[int], min_cells: int) -> Perturbations:
        """Draw genes to compare with, for each size as many together.

        They depend on the cells, the kind and the seed alone, and not on what else is perturbed.
        """
        held = np.diff(self.edits.held.indptr) >= min_cells
        candidates = np.flatnonzero(held & (self.baseline.column_of >= 0))
        drawn: Perturbations = []
        for size in sorted(sizes):
            if len(candidates) >= size:
                rng = np.random.default_rng((self.testing.random_state, size))
                drawn += self._draw(n, candidates, size, min_cells, rng)
        return drawn

    def _draw(
        self, n: int, candidates: NDArray[np.int64], size: int, min_cells: int, rng: np.random.Generator
    ) -> Perturbations:
        """Draw some of the combinations that enough cells hold."""
        features, none = self.ranks.features, candidates[:0]
        if size == 1:
            return list(draw_null(features, candidates, none, n, rng).astype(np.int32))
        drawn = list(draw_null(features, candidates, none, MORE * n, rng, size=size).astype(np.int32))
        enough = np.flatnonzero(count_copies(self.edits, drawn, self.kind) >= min_cells)
        kept = np.sort(rng.permutation(enough)[:n])
        return [drawn[at] for at in kept.tolist()]

    def compare_with(
        self, drawn: Perturbations, dose: float, keep: Partial | None, advance: Callable[[int], object]
    ) -> Null:
        """Run what perturbations are compared with."""
        n_cells = len(self.edits.tokens)

        def scores_of(part: Measured) -> NDArray[np.float32]:
            return score_matrix(part, n_cells, self.testing.towards)

        scores = self._gather(drawn, dose, "float32", n_cells, scores_of, keep, advance)
        width = max(map(len, drawn), default=1)
        genes = [[*one.tolist(), *[-1] * (width - len(one))] for one in drawn]
        return Null(np.array(genes, np.int64).reshape(len(drawn), width), scores, self.ranks.features)

    def test(
        self,
        perturbations: Perturbations,
        dose: float,
        null: Null,
        keep: Partial | None,
        advance: Callable[[int], object],
    ) -> NDArray[np.float32]:
        """Run perturbations and summarise each, [p, numbers]."""

        def numbers_of(part: Measured) -> NDArray[np.float32]:
            return summarise(part, perturbations, null, self.baseline, self.testing)

        n_states = 0 if self.reading.states is None else len(self.reading.states)
        return self._gather(perturbations, dose, "float32", len(NUMBERS) + n_states, numbers_of, keep, advance)

    def estimate(
        self, perturbations: Perturbations, dose: float, advance: Callable[[int], object]
    ) -> NDArray[np.float32]:
        """First-order estimate of the mean score of each perturbation [p]; those of genes together add up."""
        model, tokens, towards = cast(Sensitive, self.model), self.edits.tokens, self.testing.towards
        how: dict[str, Any] = {"random_state": self.testing.random_state, "device": self.device, "advance": advance}
        if towards is None:
            mean = first_order(model, tokens, self.reading, **how).mean
        else:
            mean = np.zeros(len(tokens.measured))
            for at in np.flatnonzero(towards).tolist():
                mean += towards[at] * first_order(model, tokens, self.reading, goal=at, **how).mean
        return np.array([dose * mean[genes].sum() for genes in perturbations], np.float32)

    def rank_first(
        self,
        perturbations: Perturbations,
        dose: float,
        dtype: Dtype,
        keep: Partial | None,
        advance: Callable[[int], object],
    ) -> NDArray[np.float32]:
        """Mean score of each perturbation [p], without any test."""

        def means_of(part: Measured) -> NDArray[np.float32]:
            scores = score_matrix(part, len(self.edits.tokens), self.testing.towards)
            return row_means(scores)[:, None].astype(np.float32)

        return self._gather(perturbations, dose, dtype, 1, means_of, keep, advance)[:, 0]

    def _gather(
        self,
        perturbations: Perturbations,
        dose: float,
        dtype: Dtype,
        width: int,
        rows_of: Callable[[Measured], NDArray[np.float32]],
        keep: Partial | None,
        advance: Callable[[int], object],
    ) -> NDArray[np.float32]:
        """Rows of numbers [p, width], part after part; finished ones are kept, and those kept before are not run."""
        rows = np.full((len(perturbations), width), np.nan, np.float32)
        left = np.arange(len(perturbations)) if keep is None else np.flatnonzero(~keep.done)
        if keep is not None and keep.rows is not None:
            rows[keep.done] = keep.rows[keep.done]
        parts = run_screen(
            self.model,
            self.edits,
            [perturbations[at] for at in left.tolist()],
            self.kind,
            dose,
            self.reading,
            device=self.device,
            dtype=dtype,
            batch_size=self.batch_size,
            advance=advance,
        )
        for part in parts:
            which = left[part.perturbations]
            rows[which] = rows_of(replace(part, perturbations=which, perturbation=left[part.perturbation]))
            if keep is not None:
                keep.add(which, rows[which])
        return rows
