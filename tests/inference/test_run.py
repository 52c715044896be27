"""From blocks to rows of an array: in the order of the cells, whatever the minibatches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse import settings
from scfm_scverse.inference import encode_cells, encode_groups
from scfm_scverse.io.blocks import iter_blocks
from scfm_scverse.models import Encoded, Wanted, load
from scfm_scverse.tokens import LogValues, Tokens

N_GENES = 5
tokenize = LogValues(columns=np.arange(N_GENES, dtype=np.int32), counted=np.ones(N_GENES, bool), n_genes=N_GENES)


class Summing:
    """A model whose embedding is the number of tokens and the sum of their values."""

    spec = replace(load("scfm-mini").spec, dim=2)

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def encode(self, minibatch: Tokens, want: Wanted, **_: object) -> Encoded:
        assert want.outputs == {"cell"}
        self.seen.append(minibatch.lengths)
        sums = np.add.reduceat(minibatch.values, minibatch.indptr[:-1])
        return Encoded(cell=torch.from_numpy(np.stack([minibatch.lengths, sums], axis=1).astype(np.float32)))


def embed(counts: np.ndarray, block_size: int, batch_size: int | None = None) -> tuple[np.ndarray, Summing]:
    """Embed dense counts with the model that sums."""
    model = Summing()
    blocks = iter_blocks(sp.csr_matrix(counts), block_size=block_size)
    groups = encode_groups(
        blocks, len(counts), model=model, tokenize=tokenize, want=Wanted(), batch_size=batch_size, device="cpu"
    )
    return encode_cells(groups, len(counts), model.spec.dim), model


@given(st.integers(1, 30), st.integers(1, 40), st.none() | st.integers(1, 9), st.integers(0, 3))
def test_rows_come_in_the_order_of_the_cells(n: int, block_size: int, batch_size: int | None, seed: int) -> None:
    counts = np.random.default_rng(seed).poisson(0.6, (n, N_GENES)).astype(np.float32)
    found, model = embed(counts, block_size, batch_size)
    tokens = tokenize(sp.csr_matrix(counts))
    filled = tokens.lengths > 0
    assert found.dtype == np.float32
    assert (np.isnan(found).any(axis=1) == ~filled).all()
    sums = np.array([cell.sum() for cell in np.split(tokens.values, tokens.indptr[1:-1])])
    np.testing.assert_array_equal(found[filled, 0], tokens.lengths[filled])
    np.testing.assert_allclose(found[filled, 1], sums[filled], rtol=1e-6)
    assert all((lengths > 0).all() for lengths in model.seen)
    assert all(len(lengths) <= (batch_size or n) for lengths in model.seen)


def test_minibatches_hold_cells_of_similar_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Summing, "spec", replace(Summing.spec, minibatch_tokens=10))
    counts = (np.arange(N_GENES) < np.arange(40)[:, None] % (N_GENES + 1)).astype(np.float32)
    _, model = embed(counts, block_size=40)
    assert len(model.seen) > 3
    for lengths in model.seen:
        assert len(lengths) * lengths.max() <= 10
        assert lengths.max() - lengths.min() <= 1


def test_no_cells_give_no_rows() -> None:
    found, model = embed(np.zeros((0, N_GENES), np.float32), block_size=4)
    assert found.shape == (0, 2)
    assert model.seen == []


def test_progress_is_said_with_the_time_left(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    seconds = iter(range(0, 10_000, 20))
    monkeypatch.setattr("scfm_scverse._logging.time.monotonic", lambda: next(seconds))
    done = np.arange(12) < 4
    counts = np.ones((12, N_GENES), np.float32)
    counts[11] = 0
    with settings.override(progress=True, verbosity=2), caplog.at_level("INFO", logger="scfm"):
        groups = encode_groups(
            iter_blocks(sp.csr_matrix(counts), block_size=5),
            12,
            model=Summing(),
            tokenize=tokenize,
            want=Wanted(),
            batch_size=1,
            device="cpu",
            done=done,
        )
        seen = np.concatenate([cells for cells, _ in groups])
    assert sorted(seen.tolist()) == list(range(4, 11))
    lines = [record.message for record in caplog.records if "cells, about" in record.message]
    assert lines[0] == "running scfm-mini: 1 of 8 cells, about 5 min left"  # 40 s for one cell
    assert lines[-1].startswith("running scfm-mini: 8 of 8 cells")  # the cell without counts too, and none from before
