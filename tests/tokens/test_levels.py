"""scBERT's levels: against exact arithmetic, and the original's numbers."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.levels import Levels

SETS = ["", pytest.param("second", marks=pytest.mark.holdout)]


def dense(tokens: Tokens, n_genes: int) -> np.ndarray:
    out = np.zeros((len(tokens), n_genes), np.int8)
    out[np.repeat(np.arange(len(tokens)), tokens.lengths), tokens.ids] = tokens.values
    return out


def exact_level(count: int, total: int) -> int:
    """The definition in whole numbers: the largest k up to 5 with 2^k <= 1 + 10,000 count / total."""
    share = 1 + Fraction(10_000 * count, total)
    return max(k for k in range(6) if 2**k <= share)


@given(st.lists(st.lists(st.integers(0, 200_000), min_size=1, max_size=12), min_size=1, max_size=4), st.data())
def test_levels_are_those_of_exact_arithmetic(rows: list[list[int]], data: st.DataObject) -> None:
    n = max(map(len, rows))
    counts = np.array([row + [0] * (n - len(row)) for row in rows], np.float32)
    columns = np.array(data.draw(st.lists(st.integers(-1, n - 1), min_size=n, max_size=n)), np.int32)
    found = Levels(columns=columns, n_genes=n)(sp.csr_matrix(counts))
    expected = np.zeros((len(rows), n), int)
    for cell, row in enumerate(rows):
        totals = [sum(x for x, at in zip(row, columns, strict=False) if at == gene) for gene in range(n)]
        for gene, count in enumerate(totals):
            expected[cell, gene] = exact_level(count, sum(totals)) if count else 0
        assert found.extra["n_genes"][cell] == found.lengths[cell] == np.count_nonzero(totals)
    np.testing.assert_array_equal(dense(found, n), expected)
    np.testing.assert_array_equal(np.flatnonzero(found.measured), np.unique(columns[columns >= 0]))


@pytest.mark.parametrize("scale", [1, 2, 3, 7, 200])
def test_levels_begin_exactly_at_powers_of_two(scale: int) -> None:
    counts = np.array([[0, 1, 2, 3, 6, 7, 14, 15, 30, 31, 9891]]) * scale
    for rest in (0, -1, 1):  # the total is a multiple of 10,000, one less and one more
        row = counts.copy()
        row[0, -1] += rest
        found = Levels(columns=np.arange(11, dtype=np.int32), n_genes=11)(sp.csr_matrix(row.astype(np.float32)))
        levels = [exact_level(int(count), int(row.sum())) for count in row[0]]
        assert dense(found, 11)[0].tolist() == levels
        assert (levels == [0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]) == (rest <= 0)


@given(st.integers(0, 2**32 - 1), st.sampled_from([np.e, 2.0]))
def test_log_values_give_the_levels_of_their_counts(seed: int, base: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 40, (5, 60)) * (rng.random((5, 60)) < 0.4)
    counts[0] = [1, 3, 7, 15, 31, 9943] + [0] * 54  # each on the edge of a level
    counts = sp.csr_matrix(counts)
    tokenise = Levels(columns=np.arange(60, dtype=np.int32), n_genes=60)
    logs = counts.astype(np.float64)
    totals = np.repeat(np.asarray(logs.sum(1)).ravel(), np.diff(logs.indptr))
    logs.data = np.log1p(logs.data / totals * 1e4) / np.log(base)
    found = Levels(columns=tokenise.columns, n_genes=60, base=base)(logs.astype(np.float32))
    np.testing.assert_array_equal(found.values, tokenise(counts.astype(np.float32)).values)


@pytest.mark.parametrize("which", SETS)
def test_tokens_are_the_originals(shared: Path, which: str) -> None:
    stored = np.load(shared / "golden" / "scbert" / which / "inputs.npz")
    genes = {name: at for at, name in enumerate(stored["model_genes"].tolist())}
    columns = np.array([genes.get(name, -1) for name in stored["raw_genes"].tolist()], np.int32)
    found = Levels(columns=columns, n_genes=len(genes))(sp.csr_matrix(stored["raw_counts"].astype(np.float32)))
    kept = found.extra["n_genes"] >= 10  # the filter of the original, with the number that was used there
    np.testing.assert_array_equal(stored["raw_cells"][kept], stored["kept_cells"])
    np.testing.assert_array_equal(dense(found, len(genes))[kept], stored["tokens"][:, :-1])
    # The values that the levels were cut from.
    np.testing.assert_array_equal(dense(found, len(genes))[kept], np.minimum(stored["normalised_log2"], 5).astype(int))
