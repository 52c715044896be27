"""The parts that a screen is run in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

import scfm_scverse as scfm
from scfm_scverse._query import read_query
from scfm_scverse.models import CellModel
from scfm_scverse.perturbation import Copies, Edits, Reading, screen
from scfm_scverse.perturbation.screen import count_copies, run_screen
from scfm_scverse.tl._perturbation import edits_of
from support import two_types

Setting = tuple[CellModel, Edits, list[np.ndarray]]
SOURCE: dict[str, Any] = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": None}


@pytest.fixture(scope="module")
def setting() -> Setting:
    """A model, cells whose copies are edited, and the genes that two cells or more hold."""
    adata, model = two_types(), scfm.models.load("scfm-mini")
    query = read_query(adata, model, **SOURCE)
    edits = edits_of(model, query, sp.csr_matrix(query.values.matrix), "delete", None)
    held = np.flatnonzero(np.diff(edits.held.indptr) > 1)
    return model, edits, [np.array([gene], np.int32) for gene in held.tolist()]


def test_every_perturbation_is_yielded_once_with_all_its_cells(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, edits, singles = setting
    asked = [*singles[:9], np.concatenate(singles[:2]), singles[9], np.concatenate(singles[3:6])]
    whole = list(run_screen(model, edits, asked, "delete", 1.0, Reading()))
    monkeypatch.setattr(screen, "ROUNDS", 1)
    parts = list(run_screen(model, edits, asked, "delete", 1.0, Reading()))
    assert len(parts) > len(whole)
    expected = {}
    for part in whole:
        for at in part.perturbations.tolist():
            here = part.perturbation == at
            expected[at] = part.copies.cell[here], part.effect[here]
    assert sorted(at for part in parts for at in part.perturbations.tolist()) == list(range(len(asked)))
    counts = count_copies(edits, asked, "delete")
    for part in parts:
        assert len({len(asked[at]) for at in part.perturbations.tolist()}) == 1
        for at in part.perturbations.tolist():
            here = part.perturbation == at
            assert here.sum() == counts[at]
            np.testing.assert_array_equal(part.copies.cell[here], expected[at][0])
            np.testing.assert_allclose(part.effect[here], expected[at][1], rtol=0, atol=1e-6)
            assert (part.copies.genes[here] == asked[at]).all()


def test_parts_do_not_grow_with_the_number_of_perturbations(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is held at a time is larger for all pairs than for some."""
    model, edits, singles = setting
    monkeypatch.setattr(screen, "ROUNDS", 3)
    limit = screen.ROUNDS * len(edits.tokens)
    pairs = [np.concatenate([one, other]) for one in singles[:25] for other in singles[25:60]]
    made: list[int] = []
    monkeypatch.setattr(screen, "stream_shifts", lambda *_, **__: iter(()))
    for some in (pairs[:100], pairs):
        sizes = [len(part.copies) for part in run_screen(model, edits, some, "delete", 1.0, Reading())]
        assert max(sizes) < limit + len(edits.tokens)
        assert sum(sizes) == count_copies(edits, some, "delete").sum()
        made.append(len(sizes))
    assert made[1] > 4 * made[0]


def test_parts_are_made_when_they_are_asked_for(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    model, edits, singles = setting
    planned: list[int] = []
    of = screen.copies_of

    def count(*arguments: Any, **rest: Any) -> Copies:
        planned.append(1)
        return of(*arguments, **rest)

    monkeypatch.setattr(screen, "ROUNDS", 1)
    monkeypatch.setattr(screen, "copies_of", count)
    first = next(run_screen(model, edits, singles, "delete", 1.0, Reading()))
    assert len(planned) == len(first.perturbations) < len(singles) / 5


def test_cells_without_tokens_are_not_overexpressed() -> None:
    adata, model = two_types(), scfm.models.load("scfm-mini")
    counts = np.asarray(adata.X).copy()
    counts[[2, 5]] = 0
    adata.X = counts
    query = read_query(adata, model, **SOURCE)
    edits = edits_of(model, query, sp.csr_matrix(query.values.matrix), "overexpress", None)
    gene = np.array([np.flatnonzero(np.diff(edits.held.indptr))[0]], np.int32)
    (part,) = run_screen(model, edits, [gene], "overexpress", 1.0, Reading())
    assert part.copies.cell.tolist() == [cell for cell in range(60) if cell not in (2, 5)]
    assert np.isfinite(part.effect).all()
