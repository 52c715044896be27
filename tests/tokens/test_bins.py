"""Bins against their naive twin, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naive.bins import naive_expressed, naive_range
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.binning import _smallest, bin_ranges
from scfm_scverse.tokens.bins import Bins, shares_of_edges

N_GENES = 60
CLS = N_GENES - 1


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, Bins]:
    """Values with many ties, with empty rows, and columns that share a gene or stand for none."""
    shape = draw(st.tuples(st.integers(0, 5), st.integers(1, 80)))
    few = st.integers(0, 3).map(float)
    many = st.just(0.0) | st.floats(2**-10, 1000, width=32)
    values = draw(hnp.arrays(np.float32, shape, elements=draw(st.sampled_from([few, many])), fill=st.nothing()))
    columns = draw(hnp.arrays(np.int32, shape[1], elements=st.integers(-1, CLS - 1), fill=st.nothing()))
    return values, Bins(columns, N_GENES, CLS, -2.0, n_bins=draw(st.sampled_from([5, 51, 101])))


def cells_of(tokens: Tokens) -> list[dict[int, float]]:
    """Value of each gene of each cell; a gene may stand once in a cell."""
    cells = []
    for start, stop in zip(tokens.indptr[:-1], tokens.indptr[1:], strict=True):
        cell = dict(zip(tokens.ids[start:stop].tolist(), tokens.values[start:stop].tolist(), strict=True))
        assert len(cell) == stop - start
        cells.append(cell)
    return cells


def counts_of(n: int, g: int, seed: int = 0) -> sp.csr_matrix:
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(rng.poisson(rng.gamma(0.5, 2, (n, g))).astype(np.float32))


@given(matrices())
def test_bins_equal_their_naive_twin(drawn: tuple[np.ndarray, Bins]) -> None:
    values, bins = drawn
    for ties in ("high", "middle", "hash"):
        found = cells_of(replace(bins, ties=ties)(sp.csr_matrix(values)))
        assert len(found) == len(values)
        for cell, row in zip(found, values, strict=True):
            expressed = naive_expressed(row, bins.columns, N_GENES)
            assert list(cell) == ([CLS, *expressed] if expressed else [])
            if not expressed:
                continue
            assert cell.pop(CLS) == -2
            low, high = naive_range(np.array(list(expressed.values()), np.float32), bins.n_bins)
            got = np.array(list(cell.values()))
            if ties == "hash":
                assert ((low <= got) & (got <= high)).all()
            else:
                middle = np.where(high > low, high - (high - low + 1) // 2, high)
                np.testing.assert_array_equal(got, high if ties == "high" else middle)


@given(st.integers(2, 200), st.integers(0, 10**6), st.sampled_from([np.float32(1), np.float32(0.37)]))
def test_values_that_all_differ_get_the_bins_of_numpys_quantiles(n: int, seed: int, scale: np.float32) -> None:
    values = (np.random.default_rng(seed).permutation(n) + 1).astype(np.float32) * scale
    highest, ties = bin_ranges(np.array([0, n]), values, shares_of_edges(51))
    low, high = naive_range(values, 51)
    np.testing.assert_array_equal(highest, high)
    np.testing.assert_array_equal(highest - np.maximum(ties - 1, 0), low)


def test_ties_are_drawn_evenly() -> None:
    tokens = Bins(np.arange(2000, dtype=np.int32), 2001, 2000, -2.0, max_length=3000)(
        sp.csr_matrix(np.ones((40, 2000), np.float32) * np.arange(1, 41, dtype=np.float32)[:, None])
    )
    drawn = tokens.values[tokens.ids != 2000]
    counts = np.bincount(drawn.astype(int), minlength=51)
    assert counts[0] == 0
    assert len(np.unique(drawn[:2000])) == 50
    # The 40 cells express the same genes, so that they are drawn alike: 2,000 draws over 50 bins.
    assert ((counts[1:] / 40 - 40) ** 2 / 40).sum() < 90  # chi-square of 49 degrees of freedom; 90 is p = 0.0003


def test_bins_depend_on_the_cell_alone() -> None:
    counts = counts_of(20, 300)
    bins = Bins(np.arange(300, dtype=np.int32), 301, 300, -2.0, max_length=60)
    expected = cells_of(bins(counts))
    order = np.random.default_rng(1).permutation(20)
    assert cells_of(bins(counts[order])) == [expected[i] for i in order]
    genes = np.random.default_rng(2).permutation(300)
    moved = replace(bins, columns=genes.astype(np.int32))(sp.csr_matrix(counts[:, genes]))
    assert cells_of(moved) == expected
    assert [cells_of(bins(counts[i : i + 1]))[0] for i in range(20)] == expected


def test_bins_do_not_change_with_scale_or_logarithm() -> None:
    counts = counts_of(20, 300)
    bins = Bins(np.arange(300, dtype=np.int32), 301, 300, -2.0)
    expected = bins(counts)
    logs = counts.copy()
    logs.data = np.log1p(counts.data * np.float32(1.7))
    np.testing.assert_array_equal(bins(counts * np.float32(3)).values, expected.values)
    np.testing.assert_array_equal(replace(bins, base=float(np.e))(logs).values, expected.values)


def test_columns_of_one_gene_are_added_before_the_logarithm() -> None:
    counts = counts_of(10, 120)
    columns = np.arange(120, dtype=np.int32) // 2
    bins = Bins(columns, 61, 60, -2.0)
    added = sp.csr_matrix(counts.toarray().reshape(10, 60, 2).sum(axis=2))
    expected = cells_of(Bins(np.arange(60, dtype=np.int32), 61, 60, -2.0)(added))
    assert cells_of(bins(counts)) == expected
    logs = counts.copy()
    logs.data = np.log1p(counts.data)
    found = cells_of(replace(bins, base=float(np.e), ties="high")(logs))
    high = cells_of(replace(bins, ties="high")(counts))
    assert [set(cell) for cell in found] == [set(cell) for cell in high]


def test_another_seed_draws_otherwise() -> None:
    counts, bins = counts_of(5, 300), Bins(np.arange(300, dtype=np.int32), 301, 300, -2.0)
    assert (bins(counts).values != replace(bins, seed=1)(counts).values).mean() > 0.3


def test_long_cells_keep_genes_that_are_drawn_whatever_their_bins() -> None:
    counts = sp.csr_matrix(np.ones((1, 4000), np.float32))
    bins = Bins(np.arange(4000, dtype=np.int32), 4001, 4000, -2.0, max_length=10**6)
    everything, kept = cells_of(bins(counts))[0], cells_of(replace(bins, max_length=1001)(counts))[0]
    assert len(kept) == 1001
    assert kept.items() <= everything.items()
    assert next(iter(kept)) == 4000
    assert list(kept)[1:] == sorted(list(kept)[1:])
    # 1,000 of 50 equally likely bins: the standard error of their mean is 0.46.
    assert abs(np.mean(list(kept.values())[1:]) - 25.5) < 1.8
    assert abs(np.mean(list(kept)[1:]) - 2000) < 150


def test_long_cells_keep_the_largest_values_if_asked() -> None:
    values = np.float32([[3, 1, 2, 2, 9, 2, 1]])
    bins = Bins(np.arange(7, dtype=np.int32), 8, 7, -2.0, max_length=5, sampling="top")
    tokens = bins(sp.csr_matrix(values))
    assert tokens.ids.tolist() == [7, 0, 2, 3, 4]


@given(hnp.arrays(np.uint64, st.integers(1, 300), unique=True, fill=st.nothing()), st.data())
def test_the_nth_smallest_number_is_found(numbers: np.ndarray, data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(numbers)))
    assert _smallest(numbers, n) == np.sort(numbers)[n - 1]


@pytest.mark.parametrize("length", [0, 1, 2])
def test_cells_of_few_genes(length: int) -> None:
    values = np.zeros((2, 3), np.float32)
    values[1, :length] = 5
    tokens = Bins(np.arange(3, dtype=np.int32), 4, 3, -2.0)(sp.csr_matrix(values))
    assert tokens.lengths.tolist() == [0, length + (length > 0)]
    assert tokens.measured.tolist() == [True, True, True, False]
