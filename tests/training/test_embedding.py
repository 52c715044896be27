"""Tables by a row-wise second moment, and sparse gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from naive.galore import naive_row_steps
from scfm_scverse.training import GaLoreAdamW
from scfm_scverse.training.embedding import touched_rows


def sparse_of(dense: Tensor) -> Tensor:
    """Rows that are not zero, the first of them in two halves."""
    rows = dense.any(1).nonzero()[:, 0]
    values = dense[rows].clone()
    values[0] /= 2
    where = torch.cat([rows, rows[:1]])
    return torch.sparse_coo_tensor(where[None], torch.cat([values, values[:1]]), dense.shape, check_invariants=True)


def row_gradients(n: int, rows: int, width: int, seed: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(seed)
    grads = []
    for _ in range(n):
        grad = torch.randn(rows, width, generator=rng)
        grad[torch.rand(rows, generator=rng) < 0.6] = 0
        grad[0] = 1
        grads.append(grad)
    return grads


@settings(max_examples=20)
@given(rows=st.integers(2, 10), width=st.integers(1, 6), seed=st.integers(0, 50), sparse=st.booleans())
def test_steps_are_those_of_the_formula(rows: int, width: int, seed: int, sparse: bool) -> None:
    table = nn.Parameter(torch.linspace(-1, 1, rows * width).view(rows, width))
    grads = row_gradients(6, rows, width, seed)
    expected = naive_row_steps(table.detach().numpy(), [grad.numpy() for grad in grads], 0.01, 0.999, 1e-8)
    optimizer = GaLoreAdamW([{"params": [table], "rowwise": True}], lr=0.01, weight_decay=0)
    for grad in grads:
        table.grad = sparse_of(grad) if sparse else grad.clone()
        optimizer.step()
    np.testing.assert_allclose(table.detach(), expected, rtol=0, atol=2e-6)


def test_rows_without_a_gradient_stay_as_they_are() -> None:
    table = nn.Embedding(20, 4, sparse=True)
    before = table.weight.detach().clone()
    optimizer = GaLoreAdamW([{"params": [table.weight], "rowwise": True}], lr=0.1, weight_decay=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        table(torch.tensor([3, 3, 7])).square().sum().backward()
        optimizer.step()
    moved = (table.weight.detach() != before).any(1)
    assert moved.nonzero()[:, 0].tolist() == [3, 7]


def test_row_that_is_seen_late_takes_a_step_of_the_usual_size() -> None:
    table = nn.Parameter(torch.zeros(2, 4))
    optimizer = GaLoreAdamW([{"params": [table], "rowwise": True}], lr=0.01)
    for step in range(200):
        table.grad = torch.zeros(2, 4)
        table.grad[0 if step < 199 else 1] = 1
        optimizer.step()
    torch.testing.assert_close(table[1], torch.full((4,), -0.01))


@pytest.mark.parametrize("moments", ["float32", "8bit"])
@pytest.mark.parametrize("in_backward", [None, "project"])
@pytest.mark.parametrize(
    "group",
    [{}, {"rank": 4}, {"rank": 4, "proj_type": "left"}, {"rank": 4, "proj_type": "full"}],
    ids=["adamw", "right", "left", "full"],
)
def test_sparse_gradient_counts_as_the_dense_one(group: dict[str, Any], in_backward: Any, moments: Any) -> None:
    tables = [nn.Embedding(600, 16, sparse=sparse) for sparse in (True, False)]
    tables[1].load_state_dict(tables[0].state_dict())
    scales = torch.tensor([10.0, 5, 2, 1] * 4)
    for table in tables:
        options: dict[str, Any] = {"lr": 1e-3, "eps": 1e-2, "moments": moments, "in_backward": in_backward}
        optimizer = GaLoreAdamW([{"params": [table.weight], "update_proj_gap": 2, **group}], **options)
        for step in range(4):
            genes = torch.arange(step, 600, 7)
            optimizer.zero_grad()
            (table(genes) * scales).square().sum().backward()
            optimizer.clip_grad_norm_(1e5)
            optimizer.step()
    torch.testing.assert_close(tables[0].weight, tables[1].weight, rtol=0, atol=1e-5)


def test_touched_rows_of_a_sparse_gradient_are_those_of_the_dense_one() -> None:
    grad = row_gradients(1, 9, 3, 0)[0]
    for one in (grad, sparse_of(grad)):
        rows, values = touched_rows(one)
        assert rows.tolist() == grad.any(1).nonzero()[:, 0].tolist()
        torch.testing.assert_close(values, grad[rows])
