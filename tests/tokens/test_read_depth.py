"""Tokens with read depth against their naive twin, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naive.read_depth import naive_read_depth
from scfm_scverse._errors import InputError
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.ordered import ordered_tokens
from scfm_scverse.tokens.read_depth import ReadDepth, Sample, TargetDepth

N_GENES = 9
BASES = {0.0: 1000.0, float(np.e): 8.0, 2.0: 12.0}
TARGETS = ["t4", "t0", "t4.5", "f1", "f2.5", "a1", "a0.5", "a-1"]

positive = st.floats(2**-10, 8, width=32)


@st.composite
def tokenizers(draw: st.DrawFn, n_columns: int) -> ReadDepth:
    return ReadDepth(
        columns=draw(hnp.arrays(np.int32, n_columns, elements=st.integers(-1, N_GENES - 1))),
        n_genes=N_GENES,
        target=TargetDepth.parse(draw(st.sampled_from(TARGETS))),
        base=draw(st.sampled_from(list(BASES))),
        sample=draw(st.sampled_from(["singlecell", "bulk"])),
        target_sum=draw(st.sampled_from([1e4, 1e6])),
    )


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, ReadDepth]:
    """Values with empty rows, and columns that share a gene, stand for none, or stand in any order."""
    shape = draw(st.tuples(st.integers(0, 6), st.integers(1, 12)))
    values = draw(hnp.arrays(np.float32, shape, elements=st.just(0.0) | positive | st.integers(0, 4).map(float)))
    return values, draw(tokenizers(shape[1]))


@given(matrices())
def test_tokens_are_those_of_the_naive_twin(drawn: tuple[np.ndarray, ReadDepth]) -> None:
    values, tokenize = drawn
    tokens = tokenize(sp.csr_matrix(values))
    expected = naive_read_depth(
        values, tokenize.columns, tokenize.base, str(tokenize.target), tokenize.sample == "bulk", tokenize.target_sum
    )
    assert len(tokens) == len(expected)
    for cell, (genes, *numbers) in enumerate(expected):
        span = slice(tokens.indptr[cell], tokens.indptr[cell + 1])
        assert tokens.ids[span].tolist() == list(genes)
        np.testing.assert_allclose(tokens.values[span], list(genes.values()), rtol=1e-5, atol=1e-6)
        for name, number in zip(("total", "T", "S"), numbers, strict=True):
            np.testing.assert_allclose(tokens.extra[name][cell], number, rtol=1e-5, atol=1e-5)
    assert np.flatnonzero(tokens.measured).tolist() == sorted(set(tokenize.columns.tolist()) - {-1})
    assert (tokens.indptr.dtype, tokens.ids.dtype, tokens.values.dtype) == (np.int64, np.int32, np.float32)


def same(one: Tokens, other: Tokens) -> None:
    for name in ("indptr", "ids", "values", "measured"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for name in ("total", "T", "S"):
        np.testing.assert_array_equal(one.extra[name], other.extra[name])


@given(matrices(), st.randoms(use_true_random=False))
def test_order_of_columns_changes_nothing(drawn: tuple[np.ndarray, ReadDepth], random: object) -> None:
    values, tokenize = drawn
    # Sums of two columns may differ in the last digit, so every gene has one column here.
    genes = np.unique(tokenize.columns)
    one = replace(tokenize, columns=genes)
    values = values[:, : len(genes)]
    order = list(range(len(genes)))
    random.shuffle(order)  # type: ignore[attr-defined]
    other = replace(tokenize, columns=genes[order])
    same(one(sp.csr_matrix(values)), other(sp.csr_matrix(values[:, order])))


@given(matrices(), st.integers(1, 3))
def test_tokens_do_not_depend_on_how_rows_are_cut_into_blocks(drawn: tuple[np.ndarray, ReadDepth], size: int) -> None:
    values, tokenize = drawn
    whole = tokenize(sp.csr_matrix(values))
    parts = [tokenize(sp.csr_matrix(values[start : start + size])) for start in range(0, len(values), size)]
    for name in ("ids", "values"):
        assert np.concatenate([getattr(part, name) for part in parts] or [[]]).tolist() == getattr(whole, name).tolist()
    for name in ("total", "T", "S"):
        joined = np.concatenate([part.extra[name] for part in parts] or [[]])
        np.testing.assert_array_equal(joined, whole.extra[name])


@given(matrices())
def test_columns_that_are_no_gene_of_the_model_change_nothing(drawn: tuple[np.ndarray, ReadDepth]) -> None:
    values, tokenize = drawn
    known = tokenize.columns >= 0
    alone = replace(tokenize, columns=tokenize.columns[known])
    same(tokenize(sp.csr_matrix(values)), alone(sp.csr_matrix(values[:, known])))


@given(hnp.arrays(np.bool_, st.tuples(st.integers(0, 5), st.integers(1, 200))), st.integers(0, 2**32 - 1))
def test_tokens_of_a_large_vocabulary_are_put_in_order(present: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = sp.csr_matrix(present * rng.integers(1, 9, present.shape).astype(np.float32))
    n_genes = present.shape[1]
    columns = rng.permutation(np.r_[np.arange(n_genes), -1])[:n_genes].astype(np.int32)
    indptr, ids, values, sums = ordered_tokens(rows.indptr.astype(np.int64), rows.indices, rows.data, columns, n_genes)
    table = np.zeros((len(present), n_genes + 1), np.float32)
    table[:, columns] = rows.toarray()
    expected = sp.csr_matrix(table[:, :-1])
    for found, right in zip((indptr, ids, values), (expected.indptr, expected.indices, expected.data), strict=True):
        np.testing.assert_array_equal(found, right)
    np.testing.assert_array_equal(sums, table[:, :-1].sum(axis=1))


def counts_of(n_genes: int = 6) -> tuple[np.ndarray, ReadDepth]:
    counts = np.random.default_rng(0).poisson(2.0, (20, n_genes)).astype(np.float32)
    return counts, ReadDepth(np.arange(n_genes, dtype=np.int32), n_genes, TargetDepth.parse("f1"))


def test_true_totals_make_a_part_of_the_genes_what_they_are_among_all() -> None:
    counts, tokenize = counts_of()
    whole = tokenize(sp.csr_matrix(counts))
    part = replace(tokenize, columns=tokenize.columns[:3])(sp.csr_matrix(counts[:, :3]), counts.sum(axis=1))
    dense = np.zeros((2, 20, 6), np.float32)
    for out, tokens in zip(dense, (whole, part), strict=True):
        out[np.repeat(np.arange(20), tokens.lengths), tokens.ids] = tokens.values
    np.testing.assert_array_equal(dense[1][:, :3], dense[0][:, :3])
    for name in ("total", "T", "S"):
        np.testing.assert_array_equal(part.extra[name], whole.extra[name])


def test_totals_that_are_needed_are_asked_for() -> None:
    counts, tokenize = counts_of()
    with pytest.raises(InputError, match=r"no totals.*total_key= of tl\.embed"):
        replace(tokenize, base=float(np.e), needs_totals=True)(sp.csr_matrix(counts))


@pytest.mark.parametrize("base", [0.0, float(np.e)])
@pytest.mark.parametrize("sample", ["singlecell", "bulk"])
@pytest.mark.parametrize("wrong", [0.0, -3.0, np.nan])
def test_cell_that_has_tokens_needs_a_total_above_zero(base: float, sample: Sample, wrong: float) -> None:
    counts, tokenize = counts_of()
    tokenize = replace(tokenize, base=base, sample=sample)
    totals = counts.sum(axis=1).astype(np.float64)
    totals[[4, 7]] = wrong
    with pytest.raises(InputError, match=rf"total of {wrong:g} for 2 cells.*expected.*total_key="):
        tokenize(sp.csr_matrix(counts), totals)


def test_cell_without_tokens_needs_no_total() -> None:
    counts, tokenize = counts_of()
    counts[4] = 0
    totals = counts.sum(axis=1)
    assert totals[4] == 0
    same(tokenize(sp.csr_matrix(counts), totals), tokenize(sp.csr_matrix(counts)))


@pytest.mark.parametrize(("text", "expected"), [("t4", 4.0), ("f10", 3.0), ("f0.5", np.log10(50)), ("a2", 4.0)])
def test_target_depth_of_a_cell_with_a_hundred_counts(text: str, expected: float) -> None:
    target = TargetDepth.parse(text)
    assert str(target) == text
    np.testing.assert_allclose(target(np.array([100.0])), expected)


@pytest.mark.parametrize("text", ["", "4", "x4", "t", "f0", "f-1", "t4 ", "tnan", "t1e3"])
def test_other_texts_are_no_target_depth(text: str) -> None:
    with pytest.raises(InputError, match="target_depth"):
        TargetDepth.parse(text)
