"""Edits of counts against a dense loop, and what follows of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from naive.edits import edit_values as naive_edit
from scfm_scverse.perturbation import Copies, CountEdits, Kind, copies_of, edit_values
from scfm_scverse.tokens import LogValues, Tokens
from scfm_scverse.tokens.bins import Bins
from support import small_counts

KINDS: tuple[Kind, ...] = ("delete", "overexpress", "inhibit", "activate")
N_VOCABULARY = 9


@st.composite
def blocks(draw: st.DrawFn) -> tuple[sp.csr_matrix, np.ndarray]:
    """Values of some cells, and the entry of the vocabulary of each column: some share one, some have none."""
    n, g = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    whole = draw(st.booleans())
    values = rng.integers(1, 6, (n, g)) if whole else rng.uniform(0.01, 9, (n, g)).astype(np.float32)
    dense = values * (rng.random((n, g)) < draw(st.sampled_from([0.0, 0.2, 0.7, 1.0])))
    position = rng.integers(-1, N_VOCABULARY, g).astype(np.int32)
    return sp.csr_matrix(dense), position


@st.composite
def edits(draw: st.DrawFn) -> tuple[sp.csr_matrix, np.ndarray, Copies]:
    """Cells, and copies of them in any order, each of measured genes."""
    block, position = draw(blocks())
    measured = np.unique(position[position >= 0])
    if len(measured) == 0:
        position[0], measured = 3, np.array([3])
    kind: Kind = draw(st.sampled_from(KINDS))
    k = draw(st.integers(1, min(3, len(measured))))
    p = draw(st.integers(0, 8))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    genes = np.array([rng.permutation(measured)[:k] for _ in range(p)], np.int32).reshape(p, k)
    dose = {"inhibit": st.floats(0.01, 1), "activate": st.floats(0.01, 50)}.get(kind, st.just(1.0))
    return block, position, Copies(kind, rng.integers(0, block.shape[0], p), genes, each=False, dose=draw(dose))


@given(edits(), st.sampled_from([0.0, np.e, 2.0, 10.0]))
def test_edited_rows_are_those_of_a_dense_loop(case: tuple[sp.csr_matrix, np.ndarray, Copies], base: float) -> None:
    block, position, copies = case
    before = block.copy()
    found = edit_values(block, copies, position, base)
    expected = [
        naive_edit(block[cell].toarray()[0].tolist(), position.tolist(), genes, copies.kind, copies.dose, base)
        for cell, genes in zip(copies.cell.tolist(), copies.genes.tolist(), strict=True)
    ]
    shape = (len(copies), block.shape[1])
    np.testing.assert_allclose(found.toarray(), np.array(expected).reshape(shape), rtol=1e-5, atol=1e-6)
    assert found.has_canonical_format
    assert (found.data != 0).all()
    assert (found.data > 0).all()
    assert found.dtype.kind == "f"
    assert block.dtype == before.dtype
    assert (block != before).nnz == 0


@given(edits())
def test_other_genes_keep_their_values_to_the_bit(case: tuple[sp.csr_matrix, np.ndarray, Copies]) -> None:
    block, position, copies = case
    found, before = edit_values(block, copies, position).toarray(), block[copies.cell].toarray()
    others = ~(position[None, :, None] == copies.genes[:, None, :]).any(axis=2)
    np.testing.assert_array_equal(found[others], before[others])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint16])
@pytest.mark.parametrize("kind", KINDS)
def test_values_may_be_of_any_type(kind: Kind, dtype: type) -> None:
    block = sp.csr_matrix(np.array([[1, 4, 0], [2, 0, 7]], dtype))
    copies = Copies(kind, np.array([1, 0]), np.array([[5], [5]], np.int32), each=False, dose=0.5)
    found = edit_values(block, copies, np.array([5, 2, -1], np.int32)).toarray()
    of_gene = {"delete": [0, 0], "inhibit": [1, 0.5], "activate": [3, 1.5], "overexpress": [7, 4]}[kind]
    np.testing.assert_array_equal(found, [[of_gene[0], 0, 7], [of_gene[1], 4, 0]])


def test_full_inhibition_is_deletion() -> None:
    block = sp.csr_matrix(np.array([[1.5, 4, 0], [2, 0, 7]], np.float32))
    position, genes = np.array([5, 2, 1], np.int32), np.array([[5, 1]] * 2, np.int32)
    for base in (0.0, np.e):
        found = [
            edit_values(block, Copies(kind, np.arange(2), genes, each=False), position, base).toarray()
            for kind in ("delete", "inhibit")
        ]
        np.testing.assert_array_equal(*found)


def counted(block: sp.csr_matrix, position: np.ndarray, **more: Any) -> CountEdits:
    tokenize = LogValues(position, np.ones(len(position), bool), N_VOCABULARY)
    return CountEdits(block, tokenize, position, **more)


@given(blocks())
def test_cells_hold_the_genes_that_they_express_in_any_column(case: tuple[sp.csr_matrix, np.ndarray]) -> None:
    block, position = case
    held = counted(block, position).held
    expected = np.zeros((block.shape[0], N_VOCABULARY), bool)
    for cell, column in zip(*block.nonzero(), strict=True):
        if position[column] >= 0:
            expected[cell, position[column]] = True
    np.testing.assert_array_equal(held.toarray() > 0, expected)


def test_copies_are_tokenised_with_the_totals_of_their_cells() -> None:
    seen = []

    def tokenize(block: sp.csr_matrix, totals: np.ndarray) -> Tokens:
        seen.append(totals.tolist())
        return Tokens(block.indptr, block.indices, block.data, np.ones(3, bool))

    block = sp.csr_matrix(np.eye(3, dtype=np.float32))
    made = CountEdits(block, tokenize, np.arange(3, dtype=np.int32), totals=np.array([10.0, 20, 30]))
    copies = Copies("overexpress", np.array([2, 0, 2]), np.array([[1], [2], [0]], np.int32), each=False)
    assert made.edit(copies).lengths.tolist() == [2, 2, 2]
    assert made.tokens.lengths.tolist() == [1, 1, 1]
    assert seen == [[30, 10, 30], [10, 20, 30]]


def test_copies_are_compared_with_their_cells_as_measured() -> None:
    block = sp.csr_matrix(np.array([[1, 0, 0], [1, 2, 3], [0, 4, 4]], np.float32))
    made = counted(block, np.array([0, 1, 2], np.int32))
    copies = Copies("delete", np.array([2, 1, 2]), np.array([[1], [2], [2]], np.int32), each=False)
    baselines = made.compared_with(copies)
    assert len(baselines.tokens) == 2
    for copy, cell in enumerate(copies.cell):
        one, other = baselines.tokens.take(baselines.of[[copy]]), made.tokens.take(np.array([cell]))
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.values, other.values)


def test_loss_of_a_gene_draws_the_bins_of_the_others_as_before() -> None:
    block = sp.csr_matrix(small_counts(40).X)
    position = np.arange(block.shape[1], dtype=np.int32)
    tokenize = Bins(columns=position, n_genes=block.shape[1] + 1, first=block.shape[1], first_value=0)
    edits = CountEdits(block, tokenize, position)
    copies = copies_of(edits.held, np.array([int(np.argmax(block.getnnz(0)))], np.int32), "delete")
    before, after = edits.tokens.take(copies.cell), edits.edit(copies)
    redrawn = tokenize(edit_values(block, copies, position))
    assert np.array_equal(after.ids, redrawn.ids)
    kept = before.ids != copies.genes[0, 0]
    assert np.array_equal(before.ids[kept], after.ids)
    ours, anew = (np.abs(tokens.values - before.values[kept]).mean() for tokens in (after, redrawn))
    assert ours < anew / 4
