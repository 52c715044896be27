"""Edits of tokens: what they take out, what they move, what they leave."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from naive import edits as naive
from scfm_scverse.perturbation.edits import count_present, delete, overexpress, shorten
from scfm_scverse.tokens import Tokens

SPECIAL = np.array([True, True, True] + [False] * 9)
CLS, EOS = 1, 2
GENES = np.arange(3, 12)


@st.composite
def cells(draw: st.DrawFn) -> list[list[int]]:
    """Genes of some cells, each once, perhaps none; between special tokens or without."""
    genes = st.lists(st.sampled_from(GENES.tolist()), max_size=8, unique=True)
    front, back = draw(st.sampled_from([([], []), ([CLS], []), ([CLS], [EOS])]))
    return [front + one + back for one in draw(st.lists(genes, min_size=1, max_size=5))]


def ragged(ids: list[list[int]]) -> Tokens:
    """Tokens whose values tell their gene."""
    flat = np.array([gene for cell in ids for gene in cell], np.int32)
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in ids])])
    return Tokens(indptr, flat, flat.astype(np.float32), np.ones(len(SPECIAL), bool))


def lists(tokens: Tokens) -> list[list[int]]:
    return [part.tolist() for part in np.split(tokens.ids, tokens.indptr[1:-1])]


PAIRS = st.lists(st.sampled_from(GENES.tolist()), min_size=1, max_size=3, unique=True)


@given(cells(), PAIRS)
def test_deleted_genes_are_gone_and_the_others_keep_their_order(ids: list[list[int]], genes: list[int]) -> None:
    found = delete(ragged(ids), np.array(genes, np.int32))
    assert lists(found) == [naive.delete(one, genes) for one in ids]
    np.testing.assert_array_equal(found.values, found.ids)


@given(cells(), st.data())
def test_each_cell_may_lose_genes_of_its_own(ids: list[list[int]], data: st.DataObject) -> None:
    genes = [data.draw(st.permutations(GENES.tolist()))[:2] for _ in ids]
    found = delete(ragged(ids), np.array(genes, np.int32))
    assert lists(found) == [naive.delete(one, own) for one, own in zip(ids, genes, strict=True)]


@given(cells(), st.data())
def test_deleting_a_gene_of_the_cell_leaves_one_token_less(ids: list[list[int]], data: st.DataObject) -> None:
    ids = [[*one, 3] if not set(one) & set(GENES.tolist()) else one for one in ids]
    genes = [data.draw(st.sampled_from([gene for gene in one if gene in GENES])) for one in ids]
    tokens = ragged(ids)
    np.testing.assert_array_equal(delete(tokens, np.array(genes, np.int32)[:, None]).lengths, tokens.lengths - 1)


@given(cells(), PAIRS, st.integers(5, 12))
def test_overexpressed_genes_stand_in_front_and_the_last_genes_give_way(
    ids: list[list[int]], genes: list[int], context: int
) -> None:
    found = overexpress(ragged(ids), np.array(genes, np.int32), SPECIAL, context)
    assert lists(found) == [naive.overexpress(one, genes, [0, 1, 2], context) for one in ids]


@given(cells(), st.data())
def test_raising_a_gene_of_the_cell_is_a_permutation_that_leaves_special_tokens_in_place(
    ids: list[list[int]], data: st.DataObject
) -> None:
    ids = [one for one in ids if set(one) & set(GENES.tolist())] or [[CLS, 4, EOS]]
    genes = [data.draw(st.sampled_from([gene for gene in one if gene in GENES])) for one in ids]
    found = lists(overexpress(ragged(ids), np.array(genes, np.int32)[:, None], SPECIAL, 20))
    for before, after, gene in zip(ids, found, genes, strict=True):
        assert sorted(before) == sorted(after)
        assert [t if t < 3 else 0 for t in before] == [t if t < 3 else 0 for t in after]
        assert after[before[0] == CLS] == gene
        assert naive.delete(after, [gene]) == naive.delete(before, [gene])


def test_overexpressed_gene_gets_the_largest_value_of_the_cell() -> None:
    found = overexpress(ragged([[CLS, 4, 9, EOS], []]), np.array([7], np.int32), SPECIAL, 20)
    assert found.values.tolist() == [1, 9, 4, 9, 2, 0]


@given(cells(), st.lists(st.integers(0, 10), min_size=5, max_size=5))
def test_shortened_cells_lose_their_last_genes_only(ids: list[list[int]], n: list[int]) -> None:
    found = shorten(ragged(ids), np.array(n[: len(ids)]), SPECIAL)
    assert lists(found) == [naive.shorten(one, k, [0, 1, 2]) for one, k in zip(ids, n, strict=False)]


@given(cells(), PAIRS)
def test_genes_present_are_counted(ids: list[list[int]], genes: list[int]) -> None:
    found = count_present(ragged(ids), np.array(genes, np.int32))
    assert found.tolist() == [len(set(one) & set(genes)) for one in ids]


@pytest.mark.parametrize("name", ["extra", "measured"])
def test_edits_keep_the_numbers_of_the_cells(name: str) -> None:
    tokens = Tokens(
        np.array([0, 2]), np.array([4, 5], np.int32), np.ones(2, np.float32), SPECIAL, {"total": np.ones(1)}
    )
    for edited in (delete(tokens, np.array([4])), overexpress(tokens, np.array([9]), SPECIAL, 9)):
        assert getattr(edited, name) is getattr(tokens, name)
