"""What the network computes: a cell by itself, at a cost that is linear in its genes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cosine_similarity
from torch.utils.flop_counter import FlopCounterMode

from scfm_scverse import models
from scfm_scverse.models import Encoded, Wanted
from scfm_scverse.models.scfm_latent.keys import Padded, Ragged, answers
from scfm_scverse.models.scfm_latent.model import ScfmLatent
from scfm_scverse.models.scfm_latent.network import HIGHEST, N_KNOTS, hats
from scfm_scverse.nn import set_recompute
from scfm_scverse.tokens import Tokens
from support import GENES

ALL = Wanted(outputs=frozenset({"cell", "gene", "expression"}))


def encode(model: ScfmLatent, tokens: Tokens, dtype: torch.dtype = torch.float32) -> Encoded:
    return model.encode(tokens, ALL, device=torch.device("cpu"), dtype=dtype)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_a_cell_depends_on_no_other_cell(model: ScfmLatent, tokens: Tokens) -> None:
    whole = encode(model, tokens)
    order = np.array([4, 0, 6, 3, 1, 5, 2])
    mixed = encode(model, tokens.take(order))
    assert_close(mixed.cell, whole.cell[order])
    assert_close(mixed.expression.values.view(7, -1), whole.expression.values.view(7, -1)[order])
    for cell in range(len(tokens)):
        alone = encode(model, tokens.take(np.array([cell])))
        assert_close(alone.cell[0], whole.cell[cell])
        assert_close(alone.gene.values, whole.gene.values[whole.gene.cell == cell])
        assert_close(alone.expression.values, whole.expression.values[whole.expression.cell == cell])


def test_the_order_of_genes_changes_nothing(model: ScfmLatent, tokens: Tokens) -> None:
    rng = np.random.default_rng(1)
    order = np.concatenate(
        [start + rng.permutation(n) for start, n in zip(tokens.indptr, tokens.lengths, strict=False)]
    )
    found = encode(model, replace(tokens, ids=tokens.ids[order], values=tokens.values[order]))
    expected = encode(model, tokens)
    assert_close(found.cell, expected.cell)
    assert_close(found.expression.values, expected.expression.values)
    assert_close(found.gene.values, expected.gene.values[order])


def test_values_and_genes_both_matter(model: ScfmLatent, tokens: Tokens) -> None:
    cells = encode(model, tokens).cell
    more = encode(model, replace(tokens, values=tokens.values * 1.2)).cell
    other = encode(model, replace(tokens, ids=(tokens.ids + 1) % len(GENES))).cell
    assert ((cells - more).abs().amax(1) > 1e-4).all()
    assert ((cells - other).abs().amax(1) > 1e-4).all()


@settings(max_examples=25)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 3), st.integers(0, 2**20))
def test_attention_is_that_of_a_softmax_over_each_cell(lengths: list[int], n_asked: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    b, t, longest = len(lengths), sum(lengths), max(lengths)
    query = torch.randn(b, n_asked, 2, 3, generator=rng)
    key, value = torch.randn(2, t, 2, 3, generator=rng)
    found = Ragged(key, value, tuple(lengths)).answer(query)
    real = torch.arange(longest) < torch.tensor(lengths)[:, None]
    padded = torch.full((2, b, longest, 2, 3), 7.0)
    padded[:, real] = torch.stack([key, value])
    assert_close(Padded(*padded, real).answer(query), found)
    start = 0
    for cell, n in enumerate(lengths):
        here = slice(start, start + n)
        weights = (torch.einsum("qhe,khe->hqk", query[cell], key[here]) / 3**0.5).softmax(-1)
        assert_close(found[cell], torch.einsum("hqk,khe->qhe", weights, value[here]).flatten(1))
        start += n


@settings(max_examples=25)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=4), st.integers(0, 2**20))
def test_cells_may_be_asked_for_different_numbers_of_genes(lengths: list[int], seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    query = torch.randn(sum(lengths), 2, 3, generator=rng)
    key, value = torch.randn(2, len(lengths), 4, 2, 3, generator=rng)
    found = answers(query, key, value, tuple(lengths))
    assert found.shape == (sum(lengths), 6)
    parts = zip(query.split(lengths), key, value, found.split(lengths), strict=True)
    for asked, of_cell, values, answer in parts:
        weights = (torch.einsum("qhe,khe->hqk", asked, of_cell) / 3**0.5).softmax(-1)
        assert_close(answer, torch.einsum("hqk,khe->qhe", weights, values).flatten(1))


@settings(max_examples=25)
@given(st.lists(st.floats(0, 9.3), min_size=1, max_size=20))
def test_a_value_is_a_mean_of_the_knots_around_it(values: list[float]) -> None:
    shares = hats(torch.tensor(values))
    knots = torch.linspace(0, HIGHEST, N_KNOTS)
    assert ((shares > 0).sum(1) <= 2).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(len(values)))
    torch.testing.assert_close(shares @ knots, torch.tensor(values).clamp(max=HIGHEST), rtol=0, atol=1e-4)


def multiply_adds(model: ScfmLatent, n_genes: int) -> int:
    tokens = Tokens(
        np.array([0, n_genes]), np.arange(n_genes, dtype=np.int32), np.ones(n_genes, np.float32), np.ones(800, bool)
    )
    # Only attention that is made of products is counted.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        model.run(tokens)
    assert counter.get_flop_counts()["Global"][torch.ops.aten.bmm] > 0
    return int(counter.get_total_flops())


def test_cost_is_linear_in_the_expressed_genes() -> None:
    model = models.create("scfm-latent", [f"g{i}" for i in range(800)], dim=32, n_layers=2, n_heads=4, n_latents=8)
    costs = [multiply_adds(model, n) for n in (100, 200, 400, 800)]
    steps = np.diff(costs)
    np.testing.assert_array_equal(steps, steps[0] * np.array([1, 2, 4]))
    assert steps[0] > 0
    assert costs[3] < 8 * costs[0]


def test_bfloat16_is_close_to_float32(model: ScfmLatent, tokens: Tokens) -> None:
    exact, rounded = encode(model, tokens), encode(model, tokens, torch.bfloat16)
    assert rounded.cell.dtype == torch.float32
    assert cosine_similarity(exact.cell, rounded.cell).min() > 0.999
    assert cosine_similarity(exact.expression.values, rounded.expression.values, dim=0) > 0.999
    assert torch.isfinite(rounded.gene.values).all()


def test_layers_that_are_computed_twice_give_the_same_gradients(model: ScfmLatent, tokens: Tokens) -> None:
    gradients = []
    for recompute in (False, True):
        set_recompute(model.network, recompute=recompute)
        model.network.zero_grad()
        seen = model.run(tokens)
        (seen.rows.square().mean() + seen.cell.sum()).backward()
        gradients.append([one.grad.clone() for one in model.network.parameters() if one.grad is not None])
    for once, twice in zip(*gradients, strict=True):
        torch.testing.assert_close(once, twice)


def test_hidden_tokens_leave_no_trace(model: ScfmLatent, tokens: Tokens) -> None:
    hidden = np.zeros(len(tokens.ids), bool)
    hidden[tokens.indptr[2] + 1 : tokens.indptr[4] : 2] = True
    values = np.where(hidden, -1, tokens.values).astype(np.float32)
    seen = model.run(replace(tokens, values=values))
    kept = np.flatnonzero(~hidden)
    fewer = Tokens(np.searchsorted(kept, tokens.indptr), tokens.ids[kept], tokens.values[kept], tokens.measured)
    expected = model.run(fewer)
    assert_close(seen.memory, expected.memory)
    assert_close(seen.rows[~hidden], expected.rows)
    assert seen.rows.shape == (len(tokens.ids), 32)


@pytest.mark.parametrize("from_cell", [False, True])
def test_a_gene_that_is_asked_for_alone_tells_the_same(model: ScfmLatent, tokens: Tokens, from_cell: bool) -> None:
    seen = model.run(tokens)
    genes = torch.tensor([7, 3, 88, 3, 1])
    together = seen.tell(genes, (0, 2, 0, 1, 0, 0, 2), from_cell=from_cell)
    for at, cell in enumerate((1, 1, 3, 6, 6)):
        lengths = tuple(int(cell == one) for one in range(7))
        alone = seen.tell(genes[[at]], lengths, from_cell=from_cell)
        assert_close(alone.value[0], together.value[at])
        assert_close(alone.logit[0], together.logit[at])


def test_the_vector_of_a_cell_is_asked_without_the_other_latents(model: ScfmLatent, tokens: Tokens) -> None:
    seen = model.run(tokens)
    told = seen.tell(torch.zeros(7, dtype=torch.int64), (1,) * 7, from_cell=True)
    (reached,) = torch.autograd.grad(told.value.sum(), seen.memory)
    assert (reached[:, 0].abs().sum(1) > 0).all()
    assert not reached[:, 1:].any()
