"""Copies beside their cells, minibatch after minibatch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.models import Encoded, ModelSpec, Wanted
from scfm_scverse.perturbation import Copies, CountEdits, Pairs, stream_pairs
from scfm_scverse.tokens import LogValues, Tokens

N_GENES, BUDGET = 6, 12
SPEC = ModelSpec(
    name="toy",
    version="1",
    weights_hash="0",
    genes=np.array([f"G{i}" for i in range(N_GENES)]),
    organism="human",
    dim=N_GENES,
    key_added="X_toy",
    outputs=frozenset({"cell"}),
    needs_counts=False,
    licence="none",
    citation="none",
    description="none",
    minibatch_tokens=BUDGET,
)


class Toy:
    """A cell's vector is its values; what went through is remembered."""

    def __init__(self, spec: ModelSpec = SPEC) -> None:
        self.spec = spec
        self.seen: list[Tokens] = []

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        assert want == Wanted()
        self.seen.append(minibatch)
        shape = (len(minibatch), N_GENES)
        dense = sp.csr_matrix((minibatch.values, minibatch.ids, minibatch.indptr), shape=shape).toarray()
        return Encoded(cell=torch.from_numpy(dense))


def edits_of(dense: np.ndarray) -> CountEdits:
    position = np.arange(N_GENES, dtype=np.int32)
    tokenize = LogValues(position, np.ones(N_GENES, bool), N_GENES)
    return CountEdits(sp.csr_matrix(dense.astype(np.float32)), tokenize, position)


def logs(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(values / values.sum() * 1e4))


def run(dense: np.ndarray, copies: Copies, model: Toy, batch_size: int | None = None) -> tuple[list[Pairs], list[int]]:
    done: list[int] = []
    stream = stream_pairs(
        model, edits_of(dense), copies, Wanted(), device="cpu", batch_size=batch_size, advance=done.append
    )
    return list(stream), done


@st.composite
def cases(draw: st.DrawFn) -> tuple[np.ndarray, Copies]:
    """Cells, some without counts, and copies that lose one gene each, in any order."""
    n, p = draw(st.integers(1, 7)), draw(st.integers(0, 20))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dense = rng.integers(1, 9, (n, N_GENES)) * (rng.random((n, N_GENES)) < 0.5)
    cell = rng.integers(0, n, p)
    return dense, Copies("delete", cell, rng.integers(0, N_GENES, (p, 1)).astype(np.int32), each=False)


@given(cases(), st.none() | st.integers(1, 5))
def test_every_copy_that_keeps_a_gene_comes_once_beside_its_cell(
    case: tuple[np.ndarray, Copies], batch_size: int | None
) -> None:
    dense, copies = case
    model = Toy()
    pairs, done = run(dense, copies, model, batch_size)
    seen = []
    for one in pairs:
        assert one.edited.cell is not None
        assert one.original.cell is not None
        for row, (copy, of) in enumerate(zip(one.copy.tolist(), one.of.tolist(), strict=True)):
            values = dense[copies.cell[copy]].astype(float)
            np.testing.assert_allclose(one.original.cell[of], logs(values), rtol=1e-5)
            values[copies.genes[copy, 0]] = 0
            np.testing.assert_allclose(one.edited.cell[row], logs(values), rtol=1e-5)
            seen.append(copy)
    left = dense[copies.cell].astype(bool)
    left[np.arange(len(copies)), copies.genes[:, 0]] = False
    assert sorted(seen) == np.flatnonzero(left.any(axis=1)).tolist()
    assert sum(done) == len(copies)
    for minibatch in model.seen:
        assert len(minibatch.ids) <= BUDGET
        assert len(minibatch) <= (batch_size or len(minibatch))


def test_cell_runs_once_however_many_copies_it_has() -> None:
    dense = np.array([[1, 2, 3, 4, 5, 6], [1, 1, 0, 0, 0, 0]])
    copies = Copies("delete", np.array([0, 1, 0, 0, 1, 0]), np.array([[0, 0, 1, 2, 1, 5]], np.int32).T, each=False)
    model = Toy()
    pairs, _ = run(dense, copies, model)
    assert len(pairs) > 1
    whole = [part for one in model.seen for part in np.split(one.values, one.indptr[1:-1]) if len(part) == 6]
    assert len(whole) == 1
    assert sum(len(one) for one in model.seen) == 2 + len(copies)


def test_minibatches_follow_the_budget_of_the_model() -> None:
    dense = np.ones((9, N_GENES), int)
    copies = Copies("overexpress", np.arange(9), np.zeros((9, 1), np.int32), each=False)
    few, many = (run(dense, copies, Toy(replace(SPEC, minibatch_tokens=budget)))[0] for budget in (6, 1000))
    assert [len(one.copy) for one in few] == [1] * 9
    assert [len(one.copy) for one in many] == [9]


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_no_copies_no_minibatches(device: str) -> None:
    copies = Copies("delete", np.zeros(0, np.int64), np.zeros((0, 1), np.int32), each=False)
    assert not list(stream_pairs(Toy(), edits_of(np.eye(N_GENES)), copies, Wanted(), device=device))
