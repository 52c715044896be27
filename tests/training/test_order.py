"""Orders in which cells are gone through."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.io._storage import Subset
from scfm_scverse.training.order import blocks_of, in_memory, permuted, permuted_blocks


def chosen_rows(n: int, share: float, seed: int) -> np.ndarray:
    return np.flatnonzero(np.random.default_rng(seed).random(n) < share)


@given(
    n=st.integers(0, 400),
    share=st.floats(0.1, 1),
    block=st.integers(1, 50),
    buffer=st.integers(1, 150),
    seed=st.integers(0, 9),
    epoch=st.integers(0, 9),
)
def test_blocks_are_permuted_and_shuffled_within_a_buffer(
    n: int, share: float, block: int, buffer: int, seed: int, epoch: int
) -> None:
    rows = chosen_rows(n, share, seed)
    order = permuted_blocks(rows, rows // block, buffer=buffer, seed=seed, epoch=epoch)
    assert np.array_equal(np.sort(order), rows)
    cut = [order[first : first + buffer] for first in range(0, len(order), buffer)]
    # A buffer holds whole blocks, but for its first and its last.
    for part in cut:
        inside, n_inside = np.unique(part // block, return_counts=True)
        whole = np.array([(rows // block == one).sum() for one in inside])
        assert (whole > n_inside).sum() <= 2
    again = permuted_blocks(rows, rows // block, buffer=buffer, seed=seed, epoch=epoch)
    assert np.array_equal(order, again)


def test_every_epoch_and_seed_has_another_order() -> None:
    rows = np.arange(1000)
    for make in (permuted, lambda rows, **of: permuted_blocks(rows, rows // 16, buffer=300, **of)):
        orders = [make(rows, seed=seed, epoch=epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
        assert all((orders[i] == orders[j]).mean() < 0.05 for i, j in ((0, 1), (0, 2), (1, 2)))


def test_minibatches_of_a_sorted_file_hold_cells_from_all_over() -> None:
    # Ten types, one after the other: the mean of distinct types of 32 cells drawn from all is 9.66.
    types = np.arange(40_960) // 4096
    order = permuted_blocks(np.arange(40_960), np.arange(40_960) // 64, buffer=4096, seed=0, epoch=0)
    distinct = [len(set(part)) for part in types[order].reshape(-1, 32)]
    assert np.mean(distinct) > 9.3


def test_places_within_a_buffer_are_uniform() -> None:
    rows = np.arange(640)
    places = np.array([np.argsort(permuted_blocks(rows, rows // 64, buffer=128, seed=0, epoch=e)) for e in range(400)])
    assert abs(places.mean(axis=0) - 319.5).max() < 5 * 184.8 / 20  # five standard errors of a uniform place


def on_disk(folder: Path, kind: str, chunk: int | None) -> Any:
    from anndata.io import sparse_dataset, write_elem

    matrix = sp.random(1000, 30, 0.5, format="csr", random_state=0)
    if kind == "zarr":
        import zarr

        store: Any = zarr.open_group(str(folder / "matrix.zarr"), mode="a", zarr_format=2)
        write_elem(store, "X", matrix, dataset_kwargs={} if chunk is None else {"chunks": chunk})
    else:
        import h5py

        store = h5py.File(folder / "matrix.h5", "a")
        write_elem(store, "X", matrix, dataset_kwargs={} if chunk is None else {"chunks": (chunk,)})
    return sparse_dataset(store["X"])


def test_blocks_hold_whole_chunks_where_these_are_small(tmp_path: Path) -> None:
    import dask.array as da

    rows = np.arange(1000)
    assert np.array_equal(blocks_of(on_disk(tmp_path, "h5", None), rows), rows // 64)
    # 15 values a row.
    assert np.array_equal(blocks_of(on_disk(tmp_path, "zarr", 15 * 200), rows), rows // 200)
    for chunk, block in ((100, 100), (1000, 256)):
        assert np.array_equal(blocks_of(da.zeros((1000, 3), chunks=(chunk, 3)), rows), rows // block)


def test_blocks_of_a_view_are_those_of_its_rows(tmp_path: Path) -> None:
    view = Subset(on_disk(tmp_path, "h5", None), np.arange(1000)[::-1], np.arange(30))
    assert np.array_equal(blocks_of(view, np.array([0, 999])), [999 // 64, 0])


def test_only_rows_in_memory_are_all_near(tmp_path: Path) -> None:
    dense, csr = np.zeros((3, 2)), sp.csr_matrix((3, 2))
    for near in (dense, csr, sp.csr_array(csr), Subset(csr, np.arange(2), np.arange(2))):
        assert in_memory(near)
    np.save(tmp_path / "dense.npy", dense)
    far = np.load(tmp_path / "dense.npy", mmap_mode="r")
    for one in (csr.tocsc(), far, on_disk(tmp_path, "h5", None), Subset(far, np.arange(2), np.arange(2))):
        assert not in_memory(one)


@pytest.mark.parametrize("make", [permuted, permuted_blocks])
def test_no_rows_have_an_order(make: Any) -> None:
    none = np.arange(0)
    more = {} if make is permuted else {"blocks": none, "buffer": 5}
    assert len(make(none, seed=0, epoch=0, **more)) == 0
