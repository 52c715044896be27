"""Minibatches of cells from memory and from disk: order, resuming, threads, cells without tokens."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.tokens import Tokens
from scfm_scverse.training import cells as module
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.cells import Cells, Minibatches

GENES = 12


def tokens_of(block: sp.csr_matrix, totals: np.ndarray | None = None) -> Tokens:
    """Every expressed gene is a token."""
    extra = {} if totals is None else {"totals": totals}
    return Tokens(block.indptr.astype(np.int64), block.indices, block.data, np.ones(GENES, np.bool_), extra)


def counts(n: int, empty: Iterable[int] = ()) -> np.ndarray:
    """Cells that tell who they are: gene 0 holds their number, from 1."""
    dense = np.random.default_rng(0).poisson(0.5, (n, GENES)).astype(np.float32)
    dense[:, 0] = np.arange(n) + 1
    dense[list(empty)] = 0
    return dense


def h5(dense: np.ndarray, folder: Path) -> Any:
    import h5py
    from anndata.io import sparse_dataset, write_elem

    store = h5py.File(folder / "matrix.h5", "a")
    write_elem(store, "X", sp.csr_matrix(dense))
    return sparse_dataset(store["X"])


def zarr(dense: np.ndarray, folder: Path) -> Any:
    import zarr
    from anndata.io import sparse_dataset, write_elem

    store = zarr.open_group(str(folder / "matrix.zarr"), mode="a", zarr_format=2)
    write_elem(store, "X", sp.csr_matrix(dense))
    return sparse_dataset(store["X"])


def h5_dense(dense: np.ndarray, folder: Path) -> Any:
    import h5py

    return h5py.File(folder / "matrix.h5", "a").create_dataset("X", data=dense, chunks=(7, GENES))


def dask(dense: np.ndarray, _: Path) -> Any:
    import dask.array as da

    return da.from_array(dense, chunks=(20, -1)).map_blocks(sp.csr_matrix)


STORES: dict[str, Callable[[np.ndarray, Path], Any]] = {
    "memory": lambda dense, _: sp.csr_matrix(dense),
    "columns": lambda dense, _: sp.csc_matrix(dense),
    "h5": h5,
    "zarr": zarr,
    "h5 dense": h5_dense,
    "dask": dask,
}


@pytest.fixture(params=STORES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[np.ndarray], Any]:
    return lambda dense: STORES[request.param](dense, tmp_path)


@pytest.fixture(autouse=True)
def small_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BUFFER", 40)


def train_on(monkeypatch: pytest.MonkeyPatch, rank: int, world: int) -> None:
    """Be one of several processes, as far as minibatches are concerned."""
    monkeypatch.setattr(module, "place_of_process", lambda: (rank, world))


def who(batches: Iterable[Batch]) -> list[list[int]]:
    return [batch.cells.tolist() for batch in batches if not batch.stands_in]


@pytest.fixture
def threads_ahead() -> Callable[[], list[str]]:
    """Tell the threads that read ahead, but for those that another test left waiting."""
    others = set(threading.enumerate())
    return lambda: [
        thread.name for thread in threading.enumerate() if thread not in others and thread.name.startswith("scfm-ahead")
    ]


def test_every_cell_comes_once_an_epoch_with_what_belongs_to_it(stored: Callable[[np.ndarray], Any]) -> None:
    dense, labels = counts(100), np.arange(100)[::-1].copy()
    rows = np.random.default_rng(1).permutation(100)[:90]
    loader = Minibatches(Cells(stored(dense), tokens_of, labels, labels * 2, labels * 3.0), rows, batch_size=8)
    epochs = []
    for _ in range(2):
        batches = list(loader)
        assert len(batches) == len(loader) == 12
        for batch in batches:
            assert np.array_equal(batch.tokens.values[batch.tokens.indptr[:-1]], batch.cells + 1)
            assert np.array_equal(batch.labels, labels[batch.cells])
            assert np.array_equal(batch.batches, labels[batch.cells] * 2)
            assert np.array_equal(batch.tokens.extra["totals"], labels[batch.cells] * 3.0)
        epochs.append(np.concatenate([batch.cells for batch in batches]))
        assert np.array_equal(np.sort(epochs[-1]), np.sort(rows))
    assert not np.array_equal(*epochs)
    again = Minibatches(loader.cells, rows, batch_size=8)
    assert np.array_equal(np.concatenate(who(again)), epochs[0])
    other = Minibatches(loader.cells, rows, batch_size=8, seed=1)
    assert not np.array_equal(np.concatenate(who(other)), epochs[0])


def test_unshuffled_minibatches_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("memory", "h5"):
        loader = Minibatches(
            Cells(STORES[name](counts(30), tmp_path), tokens_of), np.arange(30), batch_size=8, shuffle=False
        )
        first, second = list(loader), list(loader)
        assert np.array_equal(np.concatenate(who(first)), np.arange(30))
        assert who(first) == who(second)
        assert {batch.draw for batch in first} == {batch.draw for batch in second} == {-1}
        next(iter(loader))
        assert who(loader) == who(first)


@settings(max_examples=30)
@given(
    n=st.integers(1, 90),
    batch_size=st.integers(3, 50),
    stop=st.integers(0, 90),
    on_disk=st.booleans(),
    seed=st.integers(0, 3),
)
def test_a_run_that_was_stopped_goes_on_exactly(n: int, batch_size: int, stop: int, on_disk: bool, seed: int) -> None:
    dense = counts(n)
    # Not near in memory, so that it is read like a disk.
    cells = Cells(sp.csc_matrix(dense) if on_disk else sp.csr_matrix(dense), tokens_of)

    def loader() -> Minibatches:
        return Minibatches(cells, np.arange(n), batch_size=batch_size, seed=seed)

    def epochs(one: Minibatches, many: int) -> list[tuple[int, list[int]]]:
        return [(batch.draw, batch.cells.tolist()) for _ in range(many) for batch in one]

    expected = epochs(loader(), 3)
    stop = min(stop, len(expected) - 1)
    stopped, seen = loader(), []
    while len(seen) < stop:
        for batch in stopped:
            seen.append((batch.draw, batch.cells.tolist()))
            if len(seen) == stop:
                state = stopped.state_dict()
                break
    if not seen:
        state = stopped.state_dict()
    assert state["epoch"] * len(stopped) + state["position"] == stop
    resumed = loader()
    resumed.load_state_dict(state)
    assert (seen + epochs(resumed, 4))[: len(expected)] == expected


def test_an_epoch_that_was_left_is_not_gone_on_with() -> None:
    loader = Minibatches(Cells(sp.csr_matrix(counts(30)), tokens_of), np.arange(30), batch_size=8)
    next(iter(loader))
    assert loader.state_dict()["position"] == 1
    assert len(who(loader)) == 4
    assert (loader.epoch, loader.position) == (1, 4)


@pytest.mark.parametrize(("change", "name"), [({"batch_size": 7}, "minibatch"), ({"seed": 1}, "seed"), ({}, "cells")])
def test_another_run_is_not_gone_on_with(change: dict[str, int], name: str) -> None:
    cells = Cells(sp.csr_matrix(counts(30)), tokens_of)
    state = Minibatches(cells, np.arange(30), batch_size=8).state_dict()
    rows = np.arange(30 if change else 29)
    with pytest.raises(InputError, match=f"with {name}="):
        Minibatches(cells, rows, **({"batch_size": 8} | change)).load_state_dict(state)


@pytest.mark.parametrize("store", ["memory", "h5"])
@pytest.mark.parametrize(("n", "world"), [(96, 2), (97, 3), (103, 4)])
def test_processes_share_the_minibatches_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: str, n: int, world: int
) -> None:
    cells = Cells(STORES[store](counts(n), tmp_path), tokens_of)
    alone = who(Minibatches(cells, np.arange(n), batch_size=6 * world))
    shares = []
    for rank in range(world):
        train_on(monkeypatch, rank, world)
        loader = Minibatches(cells, np.arange(n), batch_size=6)
        shares.append(list(loader))
        assert len(shares[-1]) == len(loader) == len(alone)
    for i, expected in enumerate(alone):
        assert [cell for share in shares for cell in who([share[i]])[:1] for cell in cell] == expected
        sizes = [0 if share[i].stands_in else len(share[i]) for share in shares]
        assert max(sizes) - min(sizes) <= 1
        assert all(len(share[i]) for share in shares)


def test_a_run_goes_on_with_another_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = Cells(sp.csr_matrix(counts(50)), tokens_of)
    alone = Minibatches(cells, np.arange(50), batch_size=12)
    expected = who(alone)
    alone.load_state_dict(alone.state_dict() | {"position": 2})
    state, shares = alone.state_dict(), []
    for rank in range(2):
        train_on(monkeypatch, rank, 2)
        loader = Minibatches(cells, np.arange(50), batch_size=6)
        loader.load_state_dict(state)
        shares.append(who(loader))
    assert [one + other for one, other in zip(*shares, strict=True)] == expected[2:]


def test_cells_without_tokens_are_left_out_and_counted(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "scfm")
    empty = [0, 1, 2, 3, 17]
    loader = Minibatches(Cells(sp.csr_matrix(counts(20, empty)), tokens_of), np.arange(20), batch_size=4, shuffle=False)
    batches = list(loader)
    assert [batch.stands_in for batch in batches] == [True, False, False, False, False]
    assert np.array_equal(np.concatenate(who(batches)), np.setdiff1d(np.arange(20), empty))
    assert batches[0].cells.tolist() == [4]
    assert batches[0].draw == batches[1].draw
    assert loader.left_out == 5
    assert len(list(loader)) == 5
    assert loader.left_out == 5
    assert caplog.messages == ["5 cells have none of the genes of the model and were left out"]


def test_a_cell_that_stands_in_counts_in_no_mean() -> None:
    tokens = tokens_of(sp.csr_matrix(counts(2)))
    values = torch.tensor([3.0, 5.0], requires_grad=True)
    some, none = (Batch(tokens, np.arange(2), 0, stands_in=stands_in) for stands_in in (False, True))
    assert some.mean(values.sum(), torch.tensor(2)).item() == 4
    loss = none.mean(values.sum(), torch.tensor(2))
    loss.backward()
    assert loss.item() == 0
    assert values.grad.tolist() == [0, 0]


def test_data_without_any_token_are_an_error(threads_ahead: Callable[[], list[str]]) -> None:
    loader = Minibatches(Cells(sp.csr_matrix(counts(9, range(9))), tokens_of), np.arange(9), batch_size=4)
    with pytest.raises(InputError, match="None of the 9 cells"):
        list(loader)
    assert threads_ahead() == []


@pytest.mark.parametrize("size", [0, -1])
def test_minibatches_have_cells(size: int) -> None:
    cells = Cells(sp.csr_matrix(counts(9)), tokens_of)
    with pytest.raises(InputError, match="minibatches of"):
        Minibatches(cells, np.arange(9), batch_size=size)
    with pytest.raises(InputError, match="Found 0 cells"):
        Minibatches(cells, np.arange(0), batch_size=4)


@pytest.mark.parametrize("fails", ["read", "make"])
def test_an_error_in_a_thread_comes_out_and_no_thread_stays(
    fails: str, monkeypatch: pytest.MonkeyPatch, threads_ahead: Callable[[], list[str]]
) -> None:
    def broken(block: sp.csr_matrix) -> Tokens:
        if fails == "make" and 21 in block[:, 0].toarray():
            msg = "no such gene"
            raise ValueError(msg)
        return tokens_of(block)

    def read(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
        if fails == "read" and 20 in rows:
            msg = "no such gene"
            raise ValueError(msg)
        return matrix[rows]

    monkeypatch.setattr(module, "take_rows", read)
    seen: list[list[int]] = []
    loader = Minibatches(Cells(sp.csr_matrix(counts(60)), broken), np.arange(60), batch_size=4, shuffle=False)
    with pytest.raises(ValueError, match="no such gene"):
        seen.extend(batch.cells.tolist() for batch in loader)
    assert threads_ahead() == []
    # Cells 20 to 23 are the sixth minibatch; what runs ahead has asked for it before the fourth was used.
    assert seen == [[4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3] for i in range(loader.position)]
    assert loader.position >= 3


def test_no_thread_stays_where_an_epoch_is_left(threads_ahead: Callable[[], list[str]]) -> None:
    loader = Minibatches(Cells(sp.csr_matrix(counts(60)), tokens_of), np.arange(60), batch_size=4)
    for _ in loader:
        assert threads_ahead()
        break
    assert threads_ahead() == []

    def train() -> None:
        for _ in loader:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()
    assert threads_ahead() == []


def test_what_runs_ahead_is_bounded_and_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[np.ndarray] = []
    made: list[int] = []

    def read(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
        reads.append(rows)
        return matrix.tocsr()[rows]

    def counted(block: sp.csr_matrix) -> Tokens:
        made.append(block.shape[0])
        return tokens_of(block)

    monkeypatch.setattr(module, "take_rows", read)
    loader = Minibatches(Cells(sp.csc_matrix(counts(400)), counted), np.arange(400), batch_size=8)
    for i, _ in enumerate(loader):
        # The buffer that is in use and the next one; five minibatches are a buffer.
        assert len(reads) <= (i + 2) // 5 + 2
        assert len(made) <= i + 3
    assert [len(rows) for rows in reads] == [40] * 10
    assert np.array_equal(np.sort(np.concatenate(reads)), np.arange(400))


def test_scattered_rows_are_read_in_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    matrix = h5(counts(2000), tmp_path)
    loader = Minibatches(Cells(matrix, tokens_of), np.arange(2000), batch_size=10)
    monkeypatch.setattr(module, "BUFFER", 640)
    runs: list[int] = []
    plain = module.take_rows

    def read(matrix: Any, rows: np.ndarray) -> sp.csr_matrix:
        runs.append(1 + int((np.diff(np.sort(rows)) > 1).sum()))
        return plain(matrix, rows)

    monkeypatch.setattr(module, "take_rows", read)
    assert len(who(loader)) == 200
    assert max(runs) <= 12  # ten blocks, and two that are cut


@pytest.mark.slow
@pytest.mark.parametrize(("stop", "hook"), [(1, "batch"), (4, "batch"), (5, "epoch"), (7, "batch")])
def test_lightning_goes_on_where_it_was_stopped(
    tmp_path: Path, stop: int, hook: str, threads_ahead: Callable[[], list[str]]
) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import lightning as L

        cells = Cells(sp.csc_matrix(counts(37)), tokens_of)
        loader = Minibatches(cells, np.arange(37), batch_size=8)

        class Plan(L.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.zeros(1))
                self.seen: list[tuple[int, list[int]]] = []

            def training_step(self, batch: Batch, _: int) -> torch.Tensor:
                self.seen.append((batch.draw, batch.cells.tolist()))
                return self.weight.sum()

            def transfer_batch_to_device(self, batch: Batch, *_: Any) -> Batch:
                return batch

            # Lightning keeps the state of loaders, and forgets it where an epoch had ended.
            def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                checkpoint["minibatches"] = loader.state_dict()

            def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
                loader.load_state_dict(checkpoint["minibatches"])

            def on_train_batch_end(self, *_: Any) -> None:
                self._keep("batch")

            def on_train_epoch_end(self) -> None:
                self._keep("epoch")

            def _keep(self, where: str) -> None:
                if where == hook and self.global_step == stop:
                    self.trainer.save_checkpoint(tmp_path / "run.ckpt")

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), 0.1)

        def run(resume: Path | None = None) -> list[tuple[int, list[int]]]:
            nonlocal loader
            loader = Minibatches(cells, np.arange(37), batch_size=8)
            plan, options = Plan(), {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
            trainer = L.Trainer(
                accelerator="cpu", max_epochs=3, enable_checkpointing=False, default_root_dir=tmp_path, **options
            )
            trainer.fit(plan, loader, ckpt_path=resume, weights_only=True)
            return plan.seen

        expected = run()
        assert [len(cells) for _, cells in expected[:5]] == [8, 8, 8, 8, 5]
        stored = torch.load(tmp_path / "run.ckpt", weights_only=True)["loops"]["fit_loop"]["state_dict"]
        assert stored["combined_loader"][0]["position"] == (stop - 1) % 5 + 1
        assert run(tmp_path / "run.ckpt") == expected[stop:]
    assert threads_ahead() == []
