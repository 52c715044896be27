"""Attention inside cells that stand one after the other."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from naive.attention import naive_attention
from scfm_scverse.nn import Spans, attend, attention_weights
from scfm_scverse.nn.attention import attend_from

LENGTHS = st.lists(st.integers(1, 7), min_size=1, max_size=6).map(tuple)


def rows(lengths: tuple[int, ...], *shape: int, seed: int = 0) -> torch.Tensor:
    """Normal numbers, one row a token."""
    return torch.randn(sum(lengths), *shape, generator=torch.Generator().manual_seed(seed))


@given(LENGTHS)
def test_spans_say_where_cells_stand(lengths: tuple[int, ...]) -> None:
    spans = Spans(lengths)
    assert spans.starts.tolist() == [sum(lengths[:i]) for i in range(len(lengths))]
    assert spans.cells.tolist() == [i for i, length in enumerate(lengths) for _ in range(length)]
    found = [row + i * length for row, n, length in spans.runs for i in range(n)]
    assert found == spans.starts.tolist()
    assert [length for _, n, length in spans.runs for _ in range(n)] == list(lengths)
    assert len(spans.runs) == 1 + sum(a != b for a, b in pairwise(lengths))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_mean_of_long_cells_is_as_exact_as_its_rows(dtype: torch.dtype) -> None:
    lengths = (3000, 1, 2000)
    x = (rows(lengths, 4) + 3).to(dtype)
    found = Spans(lengths).mean(x)
    assert found.dtype == torch.float32
    expected = torch.stack([part.double().mean(0) for part in x.split(lengths)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


@settings(max_examples=25)
@given(LENGTHS, st.integers(1, 3))
def test_attention_is_the_plain_formula(lengths: tuple[int, ...], n_heads: int) -> None:
    query, key, value = (rows(lengths, n_heads, 4, seed=seed) for seed in range(3))
    found = attend(query, key, value, Spans(lengths))
    torch.testing.assert_close(found, naive_attention(query, key, value, lengths), rtol=1e-5, atol=1e-6)


def test_cells_do_not_see_one_another() -> None:
    lengths = (3, 3, 5, 1)
    parts = [rows(lengths, 2, 4, seed=seed) for seed in range(3)]
    before = attend(*parts, Spans(lengths))
    for part in parts:
        part[3:6] = float("nan")
    after = attend(*parts, Spans(lengths))
    assert after[3:6].isnan().all()
    others = [0, 1, 2, *range(6, 12)]
    torch.testing.assert_close(after[others], before[others], rtol=0, atol=0)


def test_gradient_of_attention_is_that_of_the_plain_formula() -> None:
    lengths = (4, 2, 2)
    weight = rows(lengths, 8, seed=9)
    grads = []
    for function in (
        lambda q, k, v: attend(q, k, v, Spans(lengths)),
        lambda q, k, v: naive_attention(q, k, v, lengths),
    ):
        parts = [rows(lengths, 2, 4, seed=seed).requires_grad_() for seed in range(3)]
        (function(*parts) * weight).sum().backward()
        grads.append([part.grad for part in parts])
    for found, expected in zip(*grads, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_weights_are_those_that_attention_mixes_values_with() -> None:
    lengths = (6,)
    query, key, value = (rows(lengths, 3, 4, seed=seed) for seed in range(3))
    weights = attention_weights(query[[1, 4]], key)
    assert weights.shape == (2, 6, 3)
    torch.testing.assert_close(weights.sum(1), torch.ones(2, 3))
    mixed = torch.einsum("qkh,khd->qhd", weights, value).flatten(1)
    torch.testing.assert_close(mixed, attend(query, key, value, Spans(lengths))[[1, 4]])
    torch.testing.assert_close(attention_weights(query[[1, 4]], key, heads=(2, 0)), weights[:, :, [2, 0]])


def test_one_query_a_cell_mixes_rows_by_softmax() -> None:
    lengths = (3, 3, 1, 4)
    x, asked = rows(lengths, 5), rows((4,), 2, 5, seed=1)
    mixed, total = attend_from(asked, x, Spans(lengths))
    for i, cell in enumerate(x.split(lengths)):
        torch.testing.assert_close(mixed[i], (asked[i] @ cell.T).softmax(1) @ cell)
    torch.testing.assert_close(total, torch.ones(4, 2, 1))


def test_dropped_weights_keep_their_sum_on_average() -> None:
    lengths = (4000,)
    torch.manual_seed(0)
    mixed, total = attend_from(torch.zeros(1, 1, 3), torch.ones(4000, 3), Spans(lengths), dropout=0.25)
    assert total.item() != 1
    assert abs(total.item() - 1) < 0.05
    torch.testing.assert_close(mixed, total.expand(1, 1, 3), rtol=1e-4, atol=0)
