"""Blocks of every kind of matrix: equal, bounded, checked, and the matrix untouched."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData
from anndata.io import sparse_dataset, write_elem
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scfm_scverse import settings
from scfm_scverse._errors import CountsError, InputError
from scfm_scverse.io import _columns
from scfm_scverse.io._storage import Compressed, compressed
from scfm_scverse.io.blocks import iter_blocks, n_rows, spread_rows, take_rows
from scfm_scverse.io.counts import find_values

Maker = Callable[[np.ndarray], Any]


def expect_blocks(matrix: Any, dense: np.ndarray, block_size: int) -> None:
    """Check every block against the rows of the dense matrix."""
    starts = []
    for start, block in iter_blocks(matrix, block_size=block_size):
        starts.append(start)
        assert isinstance(block, sp.csr_matrix)
        assert block.data.dtype == np.float32
        assert block.indices.dtype == np.int32
        assert block.has_canonical_format
        assert (block.data > 0).all()
        np.testing.assert_array_equal(block.toarray(), dense[start : start + block_size].astype(np.float32))
    assert starts == list(range(0, len(dense), block_size))


def test_blocks_are_the_same_for_every_kind_of_matrix(store: Maker, counts: np.ndarray) -> None:
    matrix = store(counts)
    assert n_rows(matrix) == 23
    for block_size in (1, 5, 23, 100):
        expect_blocks(matrix, counts, block_size)


def test_counts_up_to_2_to_the_24_stay_exact() -> None:
    dense = np.array([[2**24, 2**24 - 1, 1]])
    for matrix in (dense, dense.astype(float), sp.csr_matrix(dense)):
        expect_blocks(matrix, dense, 1)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_numpy_matrix_is_read(counts: np.ndarray) -> None:
    expect_blocks(np.asmatrix(counts), counts, 5)


def test_flags_are_read_as_counts() -> None:
    dense = np.eye(4, dtype=bool)
    for matrix in (dense, sp.csr_matrix(dense), sp.csc_array(dense)):
        expect_blocks(matrix, dense, 3)


VIEWS: list[tuple[Any, Any]] = [
    (slice(3, 17), slice(None)),
    (slice(None, None, -2), slice(1, 9)),
    ([20, 3, 3, 9], [7, 0, 2]),
    (np.arange(23) % 3 == 0, slice(None)),
    ([], slice(None)),
]


def test_blocks_of_a_view_are_its_rows_and_columns(store: Maker, counts: np.ndarray) -> None:
    adata = AnnData(store(counts))
    for rows, columns in VIEWS:
        view = adata[rows, columns]
        expect_blocks(find_values(view).matrix, counts[rows][:, columns], 5)
        assert view.is_view


@st.composite
def any_sparse(draw: st.DrawFn) -> sp.csr_matrix:
    """Draw whole numbers at any places, places in any order and more than once."""
    n, g = draw(st.integers(0, 12)), draw(st.integers(1, 8))
    lengths = draw(hnp.arrays(int, n, elements=st.integers(0, 10)))
    total = int(lengths.sum())
    indices = draw(hnp.arrays(np.int32, total, elements=st.integers(0, g - 1)))
    data = draw(hnp.arrays(np.float32, total, elements=st.integers(0, 5).map(float)))
    return sp.csr_matrix((data, indices, np.concatenate([[0], np.cumsum(lengths)])), shape=(n, g))


@given(matrix=any_sparse(), block_size=st.integers(1, 15))
def test_blocks_of_any_sparse_matrix(matrix: sp.csr_matrix, block_size: int) -> None:
    dense = matrix.toarray()
    expect_blocks(matrix, dense, block_size)
    expect_blocks(matrix.tocsc(), dense, block_size)
    turned = matrix.T  # CSC arrays as drawn: places unsorted and repeated
    expect_blocks(turned, dense.T, block_size)
    expect_blocks(dense, dense, block_size)


@given(matrix=any_sparse(), block_size=st.integers(1, 5), piece=st.integers(1, 7), stretch=st.integers(1, 20))
def test_passes_over_columns_do_not_depend_on_their_size(
    matrix: sp.csr_matrix, block_size: int, piece: int, stretch: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_columns, "_PIECE", piece)
        patch.setattr(_columns, "_STRETCH", stretch)
        expect_blocks(matrix.T, matrix.toarray().T, block_size)


@given(matrix=any_sparse(), data=st.data())
def test_rows_are_taken_from_any_sparse_matrix(matrix: sp.csr_matrix, data: st.DataObject) -> None:
    rows = np.array(sorted(data.draw(st.sets(st.integers(0, max(0, matrix.shape[0] - 1))))), dtype=int)
    rows = rows[: matrix.shape[0]]
    for form in (matrix, matrix.tocsc(), matrix.toarray()):
        np.testing.assert_array_equal(take_rows(form, rows).toarray(), matrix.toarray()[rows])


def test_rows_are_taken_from_every_kind_of_matrix(store: Maker, counts: np.ndarray) -> None:
    rows = np.array([7, 22, 0, 1, 5])
    np.testing.assert_array_equal(take_rows(store(counts), rows).toarray(), counts[rows].astype(np.float32))


@given(st.integers(0, 10_000), st.integers(1, 3000))
def test_spread_rows_come_from_all_over(n: int, wanted: int) -> None:
    rows = spread_rows(np.empty((n, 1)), wanted)
    assert (np.diff(rows) > 0).all()
    assert len(rows) <= wanted
    if n:
        assert len(rows) > min(n, wanted) / 2
        assert rows[0] == 0
        assert rows[-1] == n - 1 or wanted == 1
        assert np.diff(rows, append=n).max() <= n / max(1, min(wanted, 60) - 1) + 1


def test_spread_rows_of_dask_touch_few_chunks() -> None:
    import dask.array as da

    rows = spread_rows(da.zeros((100_000, 3), chunks=(100, -1)), 1000)
    assert len(np.unique(rows // 100)) <= 15
    assert rows[-1] == 99_999


def test_scattered_rows_on_disk_are_read_in_bounded_parts() -> None:
    matrix = sp.random(5000, 10, 0.2, format="csr", random_state=0)
    parts = {"indptr": matrix.indptr, "indices": Counting(matrix.indices), "data": Counting(matrix.data)}
    on_disk = SimpleNamespace(format="csr", shape=matrix.shape, dtype=matrix.dtype, group=parts)
    for step in (2, 7, 50):
        parts["data"].read = parts["data"].largest = 0
        rows = np.arange(0, 5000, step)
        assert (take_rows(on_disk, rows) != matrix[rows].astype(np.float32)).nnz == 0
        assert parts["data"].largest < matrix.nnz / 3
    assert parts["data"].read < matrix.nnz / 20


def test_reading_changes_nothing_and_blocks_may_be_changed(store: Maker, counts: np.ndarray) -> None:
    matrix = store(counts)
    arrays = [getattr(matrix, name) for name in ("data", "indices", "indptr") if sp.issparse(matrix)]
    arrays = arrays or ([matrix] if isinstance(matrix, np.ndarray) else [])
    before = [array.copy() for array in arrays]
    for _, block in iter_blocks(matrix, block_size=30):
        block.data += 1
        block.indices[:] = 0
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)
    expect_blocks(matrix, counts, 30)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -1.0, 1e300])
def test_bad_value_is_located(store_floats: Maker, counts: np.ndarray, bad: float) -> None:
    counts[13, 6], counts[17, 1] = bad, bad
    names, genes = [f"cell{i}" for i in range(23)], [f"gene{i}" for i in range(11)]
    with np.errstate(over="ignore"):  # 1e300 is infinite as float32
        matrix = store_floats(counts)
    with pytest.raises(CountsError, match=r"cell 13 \(cell13\), gene column 6 \(gene6\)"):
        list(iter_blocks(matrix, block_size=4, names=names, genes=genes))


def test_blocks_before_a_bad_value_are_read(counts: np.ndarray) -> None:
    counts[13, 6] = np.nan
    blocks = iter_blocks(counts, block_size=10)
    assert next(blocks)[0] == 0
    with pytest.raises(CountsError, match="cell 13, gene column 6;"):
        next(blocks)


def test_columns_beyond_the_last_gene_are_an_error() -> None:
    matrix = sp.csr_matrix(np.eye(3))
    matrix.indices[1] = 3
    with pytest.raises(InputError, match="damaged"):
        list(iter_blocks(matrix))


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (3, 0), (0, 0)])
def test_small_and_empty_matrices(shape: tuple[int, int]) -> None:
    dense = np.ones(shape)
    for matrix in (dense, sp.csr_matrix(dense), sp.csc_matrix(dense)):
        expect_blocks(matrix, dense, 2)


@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        (sp.coo_matrix(np.eye(2)), "coo"),
        (np.ones(3), "shape"),
        (np.array([["1"]]), "numbers"),
        (np.ones((1, 1), complex), "numbers"),
        ("X", "str"),
    ],
)
def test_what_is_no_matrix_is_an_error(matrix: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(iter_blocks(matrix))


def test_block_size_comes_from_the_settings_and_is_checked() -> None:
    with settings.override(block_size=2):
        assert [block.shape[0] for _, block in iter_blocks(np.eye(5))] == [2, 2, 1]
    with pytest.raises(InputError, match="block_size=0"):
        list(iter_blocks(np.eye(5), block_size=0))


def test_dask_of_unknown_shape_is_an_error() -> None:
    import dask.array as da

    grown = da.from_array(np.eye(4), chunks=2)
    with pytest.raises(InputError, match="compute_chunk_sizes"):
        list(iter_blocks(grown[grown[:, 0] > 0]))


def test_dask_computes_no_more_than_the_blocks_asked_for() -> None:
    import dask.array as da

    computed = []

    def load(block: np.ndarray) -> np.ndarray:
        computed.append(len(block))
        return block

    matrix = da.from_array(np.eye(40), chunks=(4, -1)).map_blocks(load, meta=np.empty((0, 0)))
    blocks = iter_blocks(matrix, block_size=10)
    next(blocks)
    assert sum(computed) <= 16


class Counting:
    """An array on disk that counts what is read of it."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.read, self.largest = array, 0, 0

    def __getitem__(self, place: Any) -> np.ndarray:
        part = self.array[place]
        self.read += part.size
        self.largest = max(self.largest, part.size)
        return part


def test_sorted_columns_in_memory_are_walked_once() -> None:
    matrix = sp.random(500, 40, 0.2, format="csc", random_state=0)
    data = Counting(matrix.data)
    parts = Compressed(matrix.indptr.astype(np.int64), matrix.indices, data, matrix.shape)
    rows = sp.vstack(list(_columns.iter_rows(parts, 7)))
    assert (rows != matrix).nnz == 0
    assert data.read == matrix.nnz


def test_columns_on_disk_are_read_in_bounded_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "_PIECE", 100)
    monkeypatch.setattr(_columns, "_STRETCH", 1000)
    matrix = sp.random(500, 40, 0.2, format="csc", random_state=0)
    data, indices = Counting(matrix.data), Counting(matrix.indices)
    parts = Compressed(matrix.indptr.astype(np.int64), indices, data, matrix.shape)
    pieces = list(_columns.iter_rows(parts, 50))
    assert (sp.vstack(pieces) != matrix.astype(np.float32)).nnz == 0
    assert max(data.largest, indices.largest) <= 100
    assert data.read <= 6 * matrix.nnz < 10 * matrix.nnz  # once per stretch of 1,000 entries, not once per block


def test_rows_on_disk_are_read_once_and_in_bounded_parts() -> None:
    matrix = sp.random(500, 40, 0.2, format="csr", random_state=0)

    parts = {"indptr": matrix.indptr, "indices": Counting(matrix.indices), "data": Counting(matrix.data)}
    on_disk = SimpleNamespace(format="csr", shape=matrix.shape, dtype=matrix.dtype, group=parts)
    expect_blocks(on_disk, matrix.toarray(), 50)
    for part in (parts["indices"], parts["data"]):
        assert part.read == matrix.nnz
        assert part.largest <= matrix.nnz / 5


@pytest.mark.parametrize("form", ["csr", "csc", "dense"])
def test_memory_is_bounded_by_the_block(form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_columns, "_PIECE", 2**12)
    monkeypatch.setattr(_columns, "_STRETCH", 2**14)
    with h5py.File(tmp_path / "large.h5", "w") as file:
        small, large = (_peak_of_reading(file, n, form) for n in (1_000, 8_000))
    # what is known of every row (indptr and its kin) may grow, what is stored in the rows may not
    assert large < small + 8_000 * 40


def _peak_of_reading(file: h5py.File, n: int, form: str) -> int:
    matrix = sp.random(n, 300, 0.1, format="csc" if form == "csc" else "csr", random_state=0, dtype=np.float32)
    write_elem(file, f"X{n}", matrix.toarray() if form == "dense" else matrix)
    stored = file[f"X{n}"] if form == "dense" else sparse_dataset(file[f"X{n}"])
    tracemalloc.start()
    try:
        for _ in iter_blocks(stored, block_size=100):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_compressed_reads_only_the_row_pointers() -> None:
    parts = compressed(sp.csr_matrix(np.eye(3)))
    assert parts.shape == (3, 3)
    assert parts.indptr.dtype == np.int64
