"""What perturbations of a group of cells are compared with, and how they are ranked first."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

import scfm_scverse as scfm
from scfm_scverse._query import read_query
from scfm_scverse.perturbation import ExpressionSpace, Reading, expression_ranks, summary
from scfm_scverse.perturbation.group_screen import GroupScreen
from scfm_scverse.perturbation.matching import ExpressionRanks
from scfm_scverse.perturbation.screen import count_copies
from scfm_scverse.perturbation.summary import Baseline
from scfm_scverse.tl._perturbation import edits_of
from scfm_scverse.tl._screen_run import columns_of
from support import two_types

MIN_CELLS = 5


@pytest.fixture(scope="module")
def group() -> GroupScreen:
    adata, model = two_types(), scfm.models.load("scfm-mini")
    query = read_query(adata, model, layer=None, use_raw=False, normalized=None, gene_symbols=None, organism=None)
    block = sp.csr_matrix(query.values.matrix, dtype=np.float64)
    column_of = columns_of(query, len(model.spec.genes))
    ranks, space = expression_ranks(block), ExpressionSpace.fit(block)
    return GroupScreen(
        model=model,
        edits=edits_of(model, query, block, "delete", None),
        reading=Reading(),
        kind="delete",
        ranks=ExpressionRanks(ranks.rank[column_of], ranks.expression[column_of], ranks.share[column_of]),
        baseline=Baseline(space.place(block), column_of, None),
        testing=summary.Testing(None, "ranksum", 100, None, 0),
        device="cpu",
        batch_size=None,
    )


def as_tuples(drawn: list[np.ndarray]) -> list[tuple[int, ...]]:
    return [tuple(genes.tolist()) for genes in drawn]


def test_null_is_drawn_among_what_enough_cells_hold(group: GroupScreen) -> None:
    drawn = group.draw(30, {1, 2}, MIN_CELLS)
    sizes = [len(genes) for genes in drawn]
    assert sizes[:30] == [1] * 30
    assert set(sizes[30:]) == {2}
    assert 10 < sizes.count(2) <= 30
    assert (count_copies(group.edits, drawn, "delete") >= MIN_CELLS).all()
    assert len(set(as_tuples(drawn))) == len(drawn)
    assert all((group.baseline.column_of[genes] >= 0).all() for genes in drawn)


def test_null_of_one_size_does_not_depend_on_the_others(group: GroupScreen) -> None:
    both = as_tuples(group.draw(30, {1, 2}, MIN_CELLS))
    assert as_tuples(group.draw(30, {1}, MIN_CELLS)) == both[:30]
    assert as_tuples(group.draw(30, {2}, MIN_CELLS)) == both[30:]


def test_nothing_is_drawn_where_nothing_is_in_enough_cells(group: GroupScreen) -> None:
    assert group.draw(30, {1}, 61) == []
    null = group.compare_with([], 1.0, None, lambda _: None)
    assert not len(null.like(np.array([3])))
    gene = group.draw(1, {1}, MIN_CELLS)
    rows = group.test(gene, 1.0, null, None, lambda _: None)
    assert rows[0, 0] > 0
    assert np.isnan(rows[0]).sum() >= 3


def test_first_ranking_has_the_means_of_the_exact_run(group: GroupScreen) -> None:
    asked = group.draw(12, {1}, MIN_CELLS)
    done: list[int] = []
    means = group.rank_first(asked, 1.0, "float32", None, done.append)
    exact = group.compare_with(asked, 1.0, None, lambda _: None)
    np.testing.assert_allclose(means, exact.means, rtol=1e-6)
    assert sum(done) == count_copies(group.edits, asked, "delete").sum()
    estimate = group.estimate(asked, 1.0, lambda _: None)
    assert np.corrcoef(estimate, means)[0, 1] > 0.9
    np.testing.assert_allclose(group.estimate(asked, 0.5, lambda _: None), estimate / 2, rtol=1e-6)
