"""Log values against their naive twin, and what must not change them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from naive.log_values import naive_log_values
from scfm_scverse.tokens import LogValues, Tokens

N_GENES = 6
BASES = {0.0: 1000.0, float(np.e): 8.0, 2.0: 12.0, 10.0: 4.0}


@st.composite
def matrices(draw: st.DrawFn) -> tuple[np.ndarray, LogValues]:
    """Values with empty rows, and columns that share a gene, stand for no gene or count for nothing."""
    base = draw(st.sampled_from(list(BASES)))
    shape = draw(st.tuples(st.integers(0, 6), st.integers(1, 9)))
    positive = st.floats(2**-10, BASES[base], width=32)
    values = draw(hnp.arrays(np.float32, shape, elements=st.just(0.0) | positive | st.integers(0, 4).map(float)))
    columns = draw(hnp.arrays(np.int32, shape[1], elements=st.integers(-1, N_GENES - 1)))
    # A gene of the vocabulary is always counted; other columns may be spike-ins.
    counted = draw(hnp.arrays(np.bool_, shape[1])) | (columns >= 0)
    return values, LogValues(columns=columns, counted=counted, n_genes=N_GENES, base=base)


def dense_of(tokens: Tokens) -> np.ndarray:
    """Tokens as a dense matrix [n, v]; a gene may stand once in a cell."""
    rows = np.repeat(np.arange(len(tokens)), tokens.lengths)
    assert len(set(zip(rows.tolist(), tokens.ids.tolist(), strict=True))) == len(rows)
    out = np.zeros((len(tokens), len(tokens.measured)))
    out[rows, tokens.ids] = tokens.values
    return out


@given(matrices())
def test_log_values_are_those_of_the_naive_twin(drawn: tuple[np.ndarray, LogValues]) -> None:
    values, tokenize = drawn
    tokens = tokenize(sp.csr_matrix(values))
    expected = naive_log_values(values, tokenize.columns, tokenize.counted, N_GENES, tokenize.base)
    np.testing.assert_allclose(dense_of(tokens), expected, rtol=1e-5, atol=1e-6)
    assert (tokens.values > 0).all()
    assert np.flatnonzero(tokens.measured).tolist() == sorted(set(tokenize.columns.tolist()) - {-1})
    assert (tokens.indptr.dtype, tokens.ids.dtype, tokens.values.dtype) == (np.int64, np.int32, np.float32)


@given(matrices(), st.integers(1, 3))
def test_log_values_do_not_depend_on_how_rows_are_cut_into_blocks(
    drawn: tuple[np.ndarray, LogValues], size: int
) -> None:
    values, tokenize = drawn
    whole = tokenize(sp.csr_matrix(values))
    parts = [tokenize(sp.csr_matrix(values[start : start + size])) for start in range(0, len(values), size)]
    for name in ("ids", "values"):
        joined = [getattr(part, name) for part in parts]
        assert np.concatenate(joined or [[]]).tolist() == getattr(whole, name).tolist()


@given(matrices())
def test_columns_of_one_gene_are_added_first(drawn: tuple[np.ndarray, LogValues]) -> None:
    values, tokenize = drawn
    linear = replace(tokenize, base=0.0)
    genes = np.unique(tokenize.columns[tokenize.columns >= 0])
    known = tokenize.columns >= 0
    summed = np.stack([values[:, tokenize.columns == gene].sum(axis=1) for gene in genes] or [np.zeros(len(values))], 1)
    rest = values[:, ~known]
    once = LogValues(
        columns=np.concatenate([genes if len(genes) else [-1], np.full(rest.shape[1], -1)]).astype(np.int32),
        counted=np.concatenate([np.ones(summed.shape[1], bool), tokenize.counted[~known]]),
        n_genes=N_GENES,
    )
    expected = dense_of(once(sp.csr_matrix(np.hstack([summed, rest]))))
    np.testing.assert_allclose(dense_of(linear(sp.csr_matrix(values))), expected, rtol=1e-5, atol=1e-6)


def test_spike_ins_change_nothing() -> None:
    columns, counted = np.array([0, 1, -1], np.int32), np.array([True, True, False])
    tokenize = LogValues(columns=columns, counted=counted, n_genes=2)
    with_spikes = tokenize(sp.csr_matrix(np.array([[3, 1, 500]], np.float32)))
    without = tokenize(sp.csr_matrix(np.array([[3, 1, 0]], np.float32)))
    np.testing.assert_array_equal(with_spikes.values, without.values)


@pytest.mark.parametrize("base", [np.e, 2, 10])
def test_logarithms_of_any_base_give_the_tokens_of_the_counts(base: float) -> None:
    counts = np.random.default_rng(0).poisson(1.0, (20, N_GENES)).astype(np.float64)
    counts[3] = 0
    scaled = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1) * 3000
    logs = (np.log1p(scaled) / np.log(base)).astype(np.float32)
    columns = np.arange(N_GENES, dtype=np.int32)
    tokenize = LogValues(columns=columns, counted=np.ones(N_GENES, bool), n_genes=N_GENES)
    expected = tokenize(sp.csr_matrix(counts.astype(np.float32)))
    found = replace(tokenize, base=float(base))(sp.csr_matrix(logs))
    assert found.ids.tolist() == expected.ids.tolist()
    np.testing.assert_allclose(found.values, expected.values, rtol=2e-6)
