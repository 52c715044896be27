"""Which cells hold which genes, and which of them are perturbed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.perturbation import Kind, copies_of
from scfm_scverse.perturbation.holders import holders, holders_of_tokens
from scfm_scverse.tokens import Tokens

N_VOCABULARY = 7
cells_of_genes = st.lists(st.lists(st.integers(-1, N_VOCABULARY - 1), max_size=9), max_size=8)


def laid_out(cells: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in cells], dtype=np.int64)])
    return indptr, np.array([gene for cell in cells for gene in cell], np.int32)


@given(cells_of_genes)
def test_cells_of_a_gene_stand_together_each_once(cells: list[list[int]]) -> None:
    held = holders(*laid_out(cells), N_VOCABULARY)
    assert held.shape == (len(cells), N_VOCABULARY)
    for gene in range(N_VOCABULARY):
        found = held.indices[held.indptr[gene] : held.indptr[gene + 1]]
        assert found.tolist() == [at for at, cell in enumerate(cells) if gene in cell]


@given(
    cells_of_genes,
    st.lists(st.integers(0, N_VOCABULARY - 1), min_size=1, max_size=3, unique=True),
    st.sampled_from(["delete", "inhibit", "activate", "overexpress"]),
    st.booleans(),
    st.none() | st.sets(st.integers(0, 7)),
)
def test_copies_are_of_the_cells_that_hold_the_genes(
    cells: list[list[int]], genes: list[int], kind: Kind, any_of: bool, chosen: set[int] | None
) -> None:
    among = None if chosen is None else sorted(cell for cell in chosen if cell < len(cells))
    held = holders(*laid_out(cells), N_VOCABULARY)
    copies = copies_of(
        held,
        np.array(genes, np.int32),
        kind,
        dose=0.5,
        any_of=any_of,
        cells=None if among is None else np.array(among, np.int64),
    )
    wanted = {True: any, False: all}[any_of]
    expected = [
        at
        for at in (range(len(cells)) if among is None else among)
        if kind == "overexpress" or wanted(gene in cells[at] for gene in genes)
    ]
    assert copies.cell.tolist() == expected
    assert copies.genes.tolist() == [genes] * len(expected)
    assert copies.genes.dtype == np.int32
    assert (copies.kind, copies.dose, copies.each) == (kind, 0.5, False)


def test_cells_keep_the_order_in_which_they_are_asked_for() -> None:
    held = holders(*laid_out([[1], [1, 2], [2], [1]]), N_VOCABULARY)
    copies = copies_of(held, np.array([1], np.int32), "delete", cells=np.array([3, 2, 0]))
    assert copies.cell.tolist() == [3, 0]


@pytest.mark.parametrize("ids", [[], [3, 0, 3]])
def test_special_tokens_are_held_as_any(ids: list[int]) -> None:
    tokens = Tokens(np.array([0, len(ids)]), np.array(ids, np.int32), np.ones(len(ids), np.float32), np.ones(4, bool))
    assert (holders_of_tokens(tokens).toarray() > 0).tolist() == [[gene in ids for gene in range(4)]]
