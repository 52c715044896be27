"""Copies of cells made by editing tokens, and the cells that they are compared with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import edits as naive
from scfm_scverse.perturbation import Kind, Mode, TokenEdits, perturb_together
from scfm_scverse.tokens import Tokens

CLS, EOS, N_VOCABULARY, CONTEXT = 0, 1, 12, 8
SPECIAL = np.arange(N_VOCABULARY) < 2


def tokens_of(cells: list[list[int]]) -> Tokens:
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in cells], dtype=np.int64)])
    ids = np.array([gene for cell in cells for gene in cell], np.int32)
    return Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(N_VOCABULARY, bool))


def as_lists(tokens: Tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, tokens.indptr[1:-1])] if len(tokens) else []


some_genes = st.lists(st.integers(2, N_VOCABULARY - 1), max_size=CONTEXT - 2, unique=True)
some_cells = st.lists(some_genes.map(lambda genes: [CLS, *genes, EOS] if genes else []), min_size=1, max_size=5)


@given(
    some_cells,
    st.lists(st.integers(2, N_VOCABULARY - 1), min_size=1, max_size=3, unique=True),
    st.sampled_from(["delete", "overexpress"]),
)
def test_copies_are_those_of_lists(cells: list[list[int]], genes: list[int], kind: Kind) -> None:
    edits = TokenEdits(tokens_of(cells), SPECIAL, CONTEXT)
    copies = perturb_together(edits.tokens, kind, np.array(genes, np.int32))
    special = [CLS, EOS]
    expected = []
    for cell in copies.cell.tolist():
        if kind == "overexpress":
            expected.append(naive.overexpress(cells[cell], genes, special, CONTEXT))
        else:
            left = naive.delete(cells[cell], genes)
            expected.append([] if left == special else left)
    assert as_lists(edits.edit(copies)) == expected


@given(some_cells, st.lists(st.integers(2, N_VOCABULARY - 1), min_size=1, max_size=3, unique=True))
def test_overexpressed_cell_is_compared_with_the_genes_that_stay_in_it(
    cells: list[list[int]], genes: list[int]
) -> None:
    edits = TokenEdits(tokens_of(cells), SPECIAL, CONTEXT)
    copies = perturb_together(edits.tokens, "overexpress", np.array(genes, np.int32))
    baselines = edits.compared_with(copies)
    edited, compared = as_lists(edits.edit(copies)), as_lists(baselines.tokens)
    for copy, cell in enumerate(copies.cell.tolist()):
        kept = [gene for gene in cells[cell] if gene in edited[copy] or gene in genes]
        pushed_out = len(cells[cell]) - len(kept)
        # As many genes as are pushed out go from the end, whichever they are.
        assert compared[baselines.of[copy]] == naive.shorten(cells[cell], pushed_out, [CLS, EOS])


@pytest.mark.parametrize(("mode", "left"), [("default", []), ("original", [CLS, EOS])])
def test_cell_whose_last_gene_is_deleted_is_empty(mode: Mode, left: list[int]) -> None:
    edits = TokenEdits(tokens_of([[CLS, 5, EOS], [CLS, 5, 4, EOS]]), SPECIAL, CONTEXT, mode)
    copies = perturb_together(edits.tokens, "delete", np.array([5], np.int32))
    assert as_lists(edits.edit(copies)) == [left, [CLS, 4, EOS]]


def test_deleted_cells_are_compared_with_whole_ones() -> None:
    cells = [[CLS, 5, EOS], [CLS, 5, 4, EOS], [CLS, 3, EOS]]
    edits = TokenEdits(tokens_of(cells), SPECIAL, CONTEXT)
    copies = perturb_together(edits.tokens, "delete", np.array([5], np.int32))
    baselines = edits.compared_with(copies)
    compared = as_lists(baselines.tokens)
    assert [compared[at] for at in baselines.of] == cells[:2]


def test_cells_hold_their_tokens() -> None:
    held = TokenEdits(tokens_of([[CLS, 5, EOS], [CLS, 3, 5, EOS]]), SPECIAL, CONTEXT).held
    assert held[:, [3, 5]].toarray().tolist() == [[0, 1], [1, 1]]
