"""Genes that are masked for Geneformer: which, how many, and that they depend on the cell alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse import models
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.objectives import Joint, MaskedRanks

GENES = [f"ENSG0000000{at}" for at in range(1000, 1100)]
N = len(GENES) + 4
MASK = 1


@pytest.fixture(scope="module")
def model():
    return models.create("geneformer", GENES, dim=8, n_layers=1, n_heads=2, max_length=N)


@pytest.fixture(scope="module")
def objective(model) -> MaskedRanks:
    made = MaskedRanks()
    made.prepare(model)
    return made


def batch_of(cells: list[np.ndarray], numbers: list[int], draw: int = 0) -> Batch:
    """Cells of these genes, between <cls> and <eos>."""
    cells = [np.array([2, *cell, 3]) for cell in cells]
    indptr = np.cumsum([0, *map(len, cells)])
    ids = np.concatenate(cells).astype(np.int32)
    return Batch(Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(N, bool)), np.array(numbers), draw)


def random_cells(n: int, seed: int, longest: int = 100) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.permutation(np.arange(4, N))[: rng.integers(1, longest + 1)] for _ in range(n)]


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(0, 2**31))
def test_what_is_hidden_depends_on_the_cell_alone(objective: MaskedRanks, seed: int, n: int, draw: int) -> None:
    cells, numbers = random_cells(n, seed), np.random.default_rng(seed).permutation(1000)[:n].tolist()
    together = batch_of(cells, numbers, draw)
    ids = objective.hide(together.tokens, together).ids
    special = together.tokens.ids < 4
    np.testing.assert_array_equal(ids[special], together.tokens.ids[special])
    assert not np.isin(ids[~special], [0, 2, 3]).any()
    order = np.random.default_rng(seed + 1).permutation(n)
    for at in order:
        alone = batch_of([cells[at]], [numbers[at]], draw)
        start, stop = together.tokens.indptr[at : at + 2]
        np.testing.assert_array_equal(objective.hide(alone.tokens, alone).ids, ids[start:stop])


def test_shares_are_those_of_bert(objective: MaskedRanks) -> None:
    batch = batch_of([np.arange(4, N)] * 2000, list(range(2000)))
    before, after = batch.tokens.ids, objective.hide(batch.tokens, batch).ids
    genes = before >= 4
    masked, swapped = (after == MASK)[genes], ((after != before) & (after != MASK))[genes]
    assert masked.mean() == pytest.approx(0.15 * 0.8, rel=0.02)
    assert swapped.mean() == pytest.approx(0.15 * 0.1 * (1 - 1 / len(GENES)), rel=0.05)
    others = np.bincount(after[genes][swapped], minlength=N)[4:]
    assert ((others - others.mean()) ** 2 / others.mean()).sum() < 160  # chi-squared of 99 degrees of freedom


def test_another_epoch_hides_other_genes(objective: MaskedRanks) -> None:
    one, two = (batch_of([np.arange(4, N)], [0], draw) for draw in (0, 1))
    assert (objective.hide(one.tokens, one).ids != objective.hide(two.tokens, two).ids).any()


def test_genes_that_stay_are_told_too(model, objective: MaskedRanks) -> None:
    """The loss is the mean of all that are to be told, of which a tenth is read as it is."""
    batch = batch_of([np.arange(4, N)] * 40, list(range(40)))
    n_changed = int((objective.hide(batch.tokens, batch).ids != batch.tokens.ids).sum())
    seen = model.run(batch.tokens)
    asked = []
    vars(batch)["mean"] = lambda total, count: asked.append(int(count)) or total / count
    loss = objective.read(model, batch, seen)["masked_ranks"]
    assert n_changed / asked[0] == pytest.approx(0.9, abs=0.04)
    np.testing.assert_allclose(loss.item(), np.log(N), rtol=0.05)


def test_cells_without_a_masked_gene_have_no_loss_and_no_gradient(model, objective: MaskedRanks) -> None:
    batch = batch_of([np.array([7])], [0])
    vars(batch)["uniform"] = lambda _: np.full(3, 0.5)
    loss = Joint(objective).losses(model, batch)["masked_ranks"]
    loss.backward()
    assert loss.item() == 0
    assert all(not one.grad.any() for one in model.network.parameters() if one.grad is not None)
    model.network.zero_grad()


def test_losses_of_weights_in_16_bits_are_taken_in_32(model, objective: MaskedRanks) -> None:
    import copy

    batch, twin = batch_of(random_cells(5, 0), list(range(5))), copy.deepcopy(model)
    expected = Joint(objective).losses(model, batch)["masked_ranks"]
    twin.network.to(torch.bfloat16)
    found = Joint(objective).losses(twin, batch)["masked_ranks"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, rtol=0.01, atol=0)
