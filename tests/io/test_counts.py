"""Which matrix is read, and on which scale its values are taken to be."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import CountsError, InputError, MissingKeyError
from scfm_scverse.io.blocks import iter_blocks
from scfm_scverse.io.counts import Values, find_values

CATALOGUES = ("CATALOG_A.md", "CATALOG_B.md", "CATALOG_C.md")


def some_counts(n: int = 60, g: int = 300, seed: int = 0) -> sp.csr_matrix:
    """Whole counts, of depths that differ between cells."""
    rng = np.random.default_rng(seed)
    return sp.csr_matrix(rng.poisson(rng.gamma(0.5, 2, g) * rng.uniform(0.5, 2, (n, 1))).astype(np.float32))


def log_of(counts: sp.csr_matrix, base: float = np.e, total: float = 1e4) -> sp.csr_matrix:
    """Logarithm of 1 + counts per ``total``."""
    shares = counts.multiply(total / counts.sum(axis=1)).tocsr()
    shares.data = (np.log1p(shares.data) / np.log(base)).astype(np.float32)
    return shares


def scaled(counts: sp.csr_matrix) -> np.ndarray:
    """What scanpy's scale makes of log values."""
    values = log_of(counts).toarray()
    return np.clip((values - values.mean(0)) / (values.std(0) + 1e-6), None, 10)


def with_raw(matrix: Any, raw: Any) -> AnnData:
    """An AnnData with another matrix in ``raw``."""
    adata = AnnData(raw)
    adata.raw = adata.copy()
    adata.X = matrix
    return adata


def summary(values: Values) -> tuple[str, str]:
    return values.source, values.kind


def test_counts_are_found_wherever_they_are() -> None:
    counts = some_counts()
    log = log_of(counts)
    assert summary(find_values(AnnData(counts))) == ("X", "counts")
    assert summary(find_values(AnnData(log, layers={"counts": counts}))) == ('layers["counts"]', "counts")
    assert summary(find_values(with_raw(log, counts))) == ("raw.X", "counts")
    assert summary(find_values(AnnData(None, shape=counts.shape, layers={"counts": counts})))[1] == "counts"


def test_nothing_but_zeros_is_read_only_where_nothing_else_is() -> None:
    counts = some_counts()
    assert find_values(with_raw(counts * 0, counts)).source == "raw.X"
    assert summary(find_values(AnnData(counts * 0))) == ("X", "counts")


def test_no_more_is_looked_at_than_needed() -> None:
    adata = with_raw(some_counts(), some_counts())
    del adata.raw._X  # nobody can look at it now
    assert find_values(adata).source == "X"


def test_log_values_are_taken_where_there_are_no_counts() -> None:
    counts = some_counts()
    assert summary(find_values(AnnData(log_of(counts)))) == ("X", "log")
    assert summary(find_values(with_raw(scaled(counts), log_of(counts)))) == ("raw.X", "log")
    assert summary(find_values(AnnData(scaled(counts), layers={"counts": counts / 3}))) == (
        'layers["counts"]',
        "log",
    )


def test_arguments_choose_the_matrix() -> None:
    counts = some_counts()
    adata = with_raw(counts, log_of(counts))
    adata.layers["tpm"] = counts * 100.5
    assert summary(find_values(adata, use_raw=True)) == ("raw.X", "log")
    assert summary(find_values(adata, layer="tpm")) == ('layers["tpm"]', "linear")


def test_normalized_says_what_the_values_are() -> None:
    small = AnnData(some_counts() / 7)  # linear, but small enough to be logarithms
    assert find_values(small).kind == "log"
    assert find_values(small, normalized=False).kind == "linear"
    whole = AnnData(sp.csr_matrix(np.eye(5)))
    assert find_values(whole, normalized=True).kind == "log"
    assert find_values(whole, normalized=False).kind == "counts"


def test_normalized_values_cannot_be_in_the_thousands() -> None:
    with pytest.raises(CountsError, match="Leave normalized= out"):
        find_values(AnnData(some_counts() * 1000.5), normalized=True)


@pytest.mark.parametrize("dtype", [bool, np.uint16, np.int32, np.int64, np.float32, np.float64])
def test_counts_of_every_type_are_counts(dtype: Any) -> None:
    counts = some_counts().astype(dtype)
    for matrix in (counts, counts.toarray(), counts.tocsc()):
        assert find_values(AnnData(matrix)).kind == "counts"


def test_every_kind_of_matrix_is_sampled(store: Callable[[np.ndarray], Any], counts: np.ndarray) -> None:
    assert summary(find_values(AnnData(store(counts)))) == ("X", "counts")
    assert summary(find_values(AnnData(store(counts))[3:9])) == ("X", "counts")


def test_one_fractional_cell_in_a_thousand_is_not_missed_in_small_data() -> None:
    counts = some_counts(1000, 20)
    counts[500] = counts[500] * 1.5
    assert find_values(AnnData(counts)).kind != "counts"


def test_matrix_is_handed_over_untouched() -> None:
    counts = some_counts()
    adata = AnnData(counts)
    values = find_values(adata)
    assert values.matrix is adata.X
    assert values.var is adata.var


def test_genes_of_raw_come_with_raw() -> None:
    counts = some_counts()
    adata = with_raw(counts, log_of(counts))[:, :10].copy()
    assert len(find_values(adata).var) == 10
    assert len(find_values(adata, use_raw=True).var) == 300


def test_view_reads_its_own_cells() -> None:
    adata = AnnData(some_counts())
    view = adata[[5, 3], :7]
    values = find_values(view)
    assert values.matrix.shape == (2, 7)
    assert len(values.var) == 7
    rows = next(iter_blocks(values.matrix))[1]
    np.testing.assert_array_equal(rows.toarray(), adata.X[[5, 3]][:, :7].toarray())
    assert view.is_view


def test_view_of_raw_and_layers_reads_its_own_cells() -> None:
    counts = some_counts()
    adata = with_raw(scaled(counts), counts)
    adata.layers["other"] = counts * 2
    view = adata[10:20]
    raw, other = find_values(view), find_values(view, layer="other")
    np.testing.assert_array_equal(next(iter_blocks(raw.matrix))[1].toarray(), counts[10:20].toarray())
    np.testing.assert_array_equal(next(iter_blocks(other.matrix))[1].toarray(), 2 * counts[10:20].toarray())


@pytest.mark.parametrize("base", [np.e, 2.0, 10.0])
@pytest.mark.parametrize("total", [1e4, 1e6])
def test_base_of_the_logarithm_is_found(base: float, total: float) -> None:
    values = find_values(AnnData(log_of(some_counts(), base, total)))
    assert (values.kind, values.base) == ("log", pytest.approx(base))


def test_base_is_guessed_where_totals_differ() -> None:
    part = log_of(some_counts())[:, :20]
    assert find_values(AnnData(part)).base == pytest.approx(np.e)
    deep = log_of(some_counts(g=10), 2, 1e6)[:, :4]
    assert deep.max() > 14
    assert find_values(AnnData(deep)).base == 2
    assert find_values(AnnData(log_of(some_counts(1), 10))).base == pytest.approx(np.e)  # one cell tells nothing


def test_scaled_values_alone_are_an_error_that_lists_what_there_is() -> None:
    counts = some_counts()
    adata = AnnData(scaled(counts), layers={"spliced": counts})
    with pytest.raises(CountsError) as caught:
        find_values(adata)
    text = str(caught.value)
    assert "X: 60 x 300, float" in text
    assert "negative values" in text
    assert 'layers["spliced"]: 60 x 300, float32, 0 to' in text
    assert "Pass layer='spliced'" in text


def test_advice_fits_what_there_is() -> None:
    counts = some_counts()
    adata = with_raw(scaled(counts), log_of(counts))
    adata.layers["scaled"] = scaled(counts)
    with pytest.raises(CountsError, match=r"Pass use_raw=True to read raw\.X"):
        find_values(adata, layer="scaled")
    with pytest.raises(CountsError, match=r"Pass use_raw=True to read raw\.X"):
        find_values(adata, normalized=True)
    with pytest.raises(CountsError, match=r'adata\.layers\["counts"\]'):
        find_values(AnnData(scaled(counts)))
    with pytest.raises(CountsError, match="Leave layer=, use_raw= and normalized= out to read X"):
        find_values(AnnData(counts, layers={"scaled": scaled(counts)}), layer="scaled")


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(CountsError, match="no matrix at all"):
        find_values(AnnData(None, shape=(3, 4)))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_value_that_is_no_number_is_located(bad: float) -> None:
    counts = some_counts().toarray()
    counts[41, 17] = bad
    adata = AnnData(sp.csr_matrix(counts))
    with pytest.raises(CountsError, match=r"cell 41 \(41\), gene column 17 \(17\)"):
        find_values(adata)
    adata.layers["counts"] = some_counts()
    assert find_values(adata).source == 'layers["counts"]'


def test_wrong_arguments_are_errors() -> None:
    adata = AnnData(some_counts(), layers={"a": some_counts()})
    with pytest.raises(InputError, match="one of them"):
        find_values(adata, layer="a", use_raw=True)
    with pytest.raises(MissingKeyError, match="the layers are: 'a'"):
        find_values(adata, layer="b")
    with pytest.raises(MissingKeyError, match="use_raw"):
        find_values(adata, use_raw=True)


@pytest.mark.parametrize("shape", [(0, 5), (1, 5), (5, 0)])
def test_small_and_empty_data(shape: tuple[int, int]) -> None:
    assert find_values(AnnData(sp.csr_matrix(np.ones(shape)))).kind == "counts"
    assert find_values(AnnData(np.zeros(shape))).kind == "counts"


@given(st.integers(1, 400), st.integers(0, 3), st.booleans())
def test_kind_does_not_depend_on_how_many_cells_there_are(n: int, seed: int, log: bool) -> None:
    counts = some_counts(n, 30, seed) + sp.csr_matrix(np.ones((n, 30), np.float32))
    found = find_values(AnnData(log_of(counts) if log else counts))
    assert found.kind == ("log" if log else "counts")


def test_scaled_pbmc_is_read_from_raw_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    import scanpy as sc

    adata = sc.datasets.pbmc68k_reduced()
    with caplog.at_level(logging.INFO, logger="scfm"):
        values = find_values(adata)
    assert summary(values) == ("raw.X", "log")
    assert values.base == pytest.approx(np.e)
    assert [record.message for record in caplog.records] == ["reading log-normalised values of raw.X (765 genes)"]


def _catalogue(folder: Path) -> dict[str, str]:
    """Read the kind of values of every file from the catalogues."""
    kinds = {}
    for name in CATALOGUES:
        lines = (folder / name).read_text().splitlines()
        rows = [re.split(r"\s*\|\s*", line.strip("| ")) for line in lines if line.startswith("|")]
        column = rows[0].index("values") if "values" in rows[0] else None
        for row in rows:
            if (folder / f"{row[0]}.cells").is_file():
                whole = column is None or row[column].startswith("counts")  # the third says it once for all
                kinds[row[0]] = "counts" if whole else "linear"
    return kinds


@pytest.mark.parametrize("largest", [1_200_000, pytest.param(2**30, marks=pytest.mark.slow)])
def test_kind_of_real_sets_is_what_the_catalogues_say(
    shared: Path, read_cells: Callable[[str], AnnData], largest: int
) -> None:
    folder = shared / "data" / "cells"
    stated = _catalogue(folder)
    assert set(stated) == {path.stem for path in folder.glob("*.cells")}
    small = {path.stem for path in folder.glob("*.cells") if path.stat().st_size < largest}
    expected = {name: ("X", kind) for name, kind in stated.items() if name in small or kind == "linear"}
    assert {name: summary(find_values(read_cells(name))) for name in expected} == expected
