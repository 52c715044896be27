"""Rank tokens against their naive twin, and what must not change them."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naive.ranks import naive_ranks
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.ranks import Ranks

N_GENES = 12
# Medians of which many quotients are equal, beside ordinary and extreme ones.
MEDIANS = st.sampled_from([0.5, 1.0, 1.25, 2.5, 1.105969024047805, 7.2e-7, 634.0]) | st.floats(1e-3, 1e3)
VALUES = st.just(0.0) | st.integers(1, 6).map(float) | st.floats(2**-20, 1e5, width=32)


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, Ranks]:
    """Values with empty rows, and columns that share a slot or stand for none; slots in any order of genes."""
    shape = draw(st.tuples(st.integers(0, 6), st.integers(1, 14)))
    values = draw(hnp.arrays(np.float32, shape, elements=VALUES))
    columns = draw(hnp.arrays(np.int32, shape[1], elements=st.integers(-1, N_GENES - 1)))
    genes = 4 + np.array(draw(st.permutations(range(N_GENES))), np.int32)
    medians = draw(hnp.arrays(np.float64, N_GENES, elements=MEDIANS))
    around = draw(st.sampled_from([None, (2, 3)]))
    context = draw(st.integers(3, N_GENES + 4))
    return values, Ranks(columns, genes, medians, N_GENES + 4, context, around)


def cells_of(tokens: Tokens) -> list[list[int]]:
    return [cell.tolist() for cell in np.split(tokens.ids, tokens.indptr[1:-1])][: len(tokens)]


def expected(values: np.ndarray, ranks: Ranks) -> list[list[int]]:
    return naive_ranks(values, ranks.columns, ranks.genes, ranks.medians, ranks.context, ranks.around)


@given(matrices())
def test_ranks_are_those_of_the_naive_twin(drawn: tuple[np.ndarray, Ranks]) -> None:
    values, ranks = drawn
    tokens = ranks(sp.csr_matrix(values))
    assert cells_of(tokens) == expected(values, ranks)
    assert np.flatnonzero(tokens.measured).tolist() == sorted({int(ranks.genes[c]) for c in ranks.columns if c >= 0})
    assert (tokens.indptr.dtype, tokens.ids.dtype, tokens.values.dtype) == (np.int64, np.int32, np.float32)


@given(matrices(), st.integers(1, 3))
def test_ranks_do_not_depend_on_how_rows_are_cut_into_blocks(drawn: tuple[np.ndarray, Ranks], size: int) -> None:
    values, ranks = drawn
    parts = [ranks(sp.csr_matrix(values[start : start + size])) for start in range(0, len(values), size)]
    assert [cell for part in parts for cell in cells_of(part)] == cells_of(ranks(sp.csr_matrix(values)))


@given(matrices(), st.randoms(use_true_random=False))
def test_ranks_do_not_depend_on_the_order_of_columns(drawn: tuple[np.ndarray, Ranks], random: Random) -> None:
    values, ranks = drawn
    values = np.round(values)  # sums of whole numbers are the same in any order
    order = np.random.default_rng(random.getrandbits(32)).permutation(values.shape[1])
    turned = replace(ranks, columns=ranks.columns[order])
    assert cells_of(turned(sp.csr_matrix(values[:, order]))) == cells_of(ranks(sp.csr_matrix(values)))


def many(n_cells: int, n_genes: int, seed: int, levels: int) -> tuple[sp.csr_matrix, Ranks]:
    """Cells of hundreds of genes, with medians of so many different values."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.4, 2.0, n_genes), (n_cells, n_genes)).astype(np.float32)
    medians = rng.lognormal(0.5, 1.0, levels)[rng.integers(levels, size=n_genes)]
    columns = rng.permutation(n_genes).astype(np.int32)
    return sp.csr_matrix(counts), Ranks(columns, np.arange(n_genes, dtype=np.int32), medians, n_genes, 10_000)


@pytest.mark.parametrize("levels", [1, 3, 10_000])
@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e6])
def test_long_cells_are_ranked_exactly_whatever_the_ties_and_the_units(levels: int, scale: float) -> None:
    counts, ranks = many(12, 3000, 0, levels)
    values = (counts * np.float32(scale)).toarray()
    values[0] *= np.float32(2.0**30)  # one cell far above the others of its block
    assert cells_of(ranks(sp.csr_matrix(values))) == expected(values, ranks)


def test_values_next_to_each_other_in_float64_are_told_apart() -> None:
    medians = np.nextafter(1.5, 2) + np.arange(400)[::-1] * np.spacing(1.5)
    ranks = Ranks(np.arange(400, dtype=np.int32), np.arange(400, dtype=np.int32), medians, 400, 400)
    tokens = ranks(sp.csr_matrix(np.full((1, 400), 3, np.float32)))
    assert cells_of(tokens) == expected(np.full((1, 400), 3, np.float32), ranks)
    assert tokens.ids[0] == 399


def test_position_one_is_the_highest_and_values_are_those_of_the_cell() -> None:
    ranks = Ranks(
        np.array([0, 1, 2], np.int32), np.array([4, 5, 6], np.int32), np.array([1.0, 10.0, 1.0]), 7, 8, (2, 3)
    )
    tokens = ranks(sp.csr_matrix(np.array([[2, 50, 1]], np.float32)))
    assert tokens.ids.tolist() == [2, 5, 4, 6, 3]
    assert tokens.values.tolist() == [0, 50, 2, 1, 0]


def test_cells_without_genes_have_no_tokens_at_all() -> None:
    ranks = Ranks(np.array([0, -1], np.int32), np.array([4], np.int32), np.ones(1), 5, 8, (2, 3))
    tokens = ranks(sp.csr_matrix(np.array([[0, 0], [0, 3], [1, 3]], np.float32)))
    assert tokens.lengths.tolist() == [0, 0, 3]


def test_stored_zeros_are_tokens_only_on_request() -> None:
    block = sp.csr_matrix((np.array([0, 2, 0], np.float32), np.array([0, 1, 2]), np.array([0, 3])), shape=(1, 3))
    ranks = Ranks(np.array([0, 1, 2], np.int32), np.array([4, 5, 6], np.int32), np.ones(3), 7, 8)
    assert ranks(block).ids.tolist() == [5]
    assert replace(ranks, keep_zeros=True)(block).ids.tolist() == [5, 4, 6]
    assert block.nnz == 3


@pytest.mark.parametrize("base", [np.e, 2, 10])
def test_logarithms_of_any_base_are_ranked_as_the_counts(base: float) -> None:
    counts, ranks = many(20, 300, 1, 10_000)
    scaled = counts.multiply(1e4 / counts.sum(axis=1)).tocsr()
    logs = (scaled.log1p() / np.log(base)).astype(np.float32)
    assert cells_of(replace(ranks, base=float(base))(logs)) == cells_of(ranks(counts))
