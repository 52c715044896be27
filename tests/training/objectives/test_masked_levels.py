"""Levels that are hidden for scBERT: which, how many, and that they depend on the cell alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models.scbert.pretraining import masked_count
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.draws import Purpose
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedLevels

N_GENES = 120
MASK = 6


@pytest.fixture(scope="module")
def model():
    return models.create("scbert", [f"GENE{at}" for at in range(N_GENES)], dim=8, n_layers=1, n_heads=2, dim_head=4)


def batch_of(cells: list[dict[int, int]], numbers: list[int], draw: int = 0) -> Batch:
    """Cells whose genes have these levels."""
    indptr = np.cumsum([0, *map(len, cells)])
    ids = np.concatenate([list(cell) for cell in cells]).astype(np.int32)
    values = np.concatenate([list(cell.values()) for cell in cells]).astype(np.float32)
    return Batch(Tokens(indptr, ids, values, np.ones(N_GENES + 1, bool)), np.array(numbers), draw)


def random_cells(n: int, seed: int) -> list[dict[int, int]]:
    rng = np.random.default_rng(seed)
    genes = [np.sort(rng.permutation(N_GENES)[: rng.integers(1, N_GENES + 1)]) for _ in range(n)]
    return [dict(zip(one.tolist(), rng.integers(0, 6, len(one)).tolist(), strict=True)) for one in genes]


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(0, 2**31))
def test_what_is_hidden_depends_on_the_cell_alone(seed: int, n: int, draw: int) -> None:
    cells, numbers = random_cells(n, seed), np.random.default_rng(seed).permutation(1000)[:n].tolist()
    together, objective = batch_of(cells, numbers, draw), MaskedLevels()
    levels = together.tokens.values
    values = objective.hide(together.tokens, together).values
    assert set(values[values != levels].tolist()) <= {MASK}
    np.testing.assert_array_equal(values[levels == 0], 0)
    for at in range(n):
        alone = batch_of([cells[at]], [numbers[at]], draw)
        start, stop = together.tokens.indptr[at : at + 2]
        np.testing.assert_array_equal(objective.hide(alone.tokens, alone).values, values[start:stop])


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 6))
def test_as_many_levels_are_told_as_the_rule_says(model, seed: int, n: int) -> None:
    cells = random_cells(n, seed)
    batch, objective, asked = batch_of(cells, list(range(n))), MaskedLevels(), []
    vars(batch)["mean"] = lambda total, count: asked.append(int(count)) or total
    with torch.no_grad():
        Joint(objective).losses(model, batch)
    expressed = np.array([sum(level > 0 for level in cell.values()) for cell in cells])
    assert asked == [masked_count(expressed, N_GENES + 1).sum()]


def test_nine_of_ten_told_levels_are_hidden_and_all_are_as_likely() -> None:
    n = 4000
    batch = batch_of([dict.fromkeys(range(40), 3)] * n, list(range(n)))
    hidden = MaskedLevels().hide(batch.tokens, batch).values.reshape(n, 40) == MASK
    assert hidden.mean() == pytest.approx(0.15 * 0.9, rel=0.02)
    assert hidden.sum(1).max() == 6  # of 40, never more than the rule says
    np.testing.assert_allclose(hidden.mean(0), 0.135, rtol=0, atol=0.02)


def test_cells_without_a_level_above_0_have_no_loss(model) -> None:
    batch = batch_of([{3: 0, 5: 0}], [0])
    loss = Joint(MaskedLevels()).losses(model, batch)["masked_levels"]
    loss.backward()
    assert loss.item() == 0
    assert all(not one.grad.any() for one in model.network.parameters() if one.grad is not None)
    model.network.zero_grad()


def test_levels_that_stay_are_told_too(model) -> None:
    """With draws that hide none: the loss is the mean over the expressed genes with the smallest draws."""
    batch = batch_of([{3: 0, 4: 2, 9: 5, 11: 1}, {0: 1}], [0, 1])
    drawn = {Purpose.CHOSEN_LEVEL: np.array([0.0, 0.3, 0.2, 0.9, 0.5]), Purpose.HIDDEN_LEVEL: np.full(5, 0.95)}
    vars(batch)["uniform"] = drawn.__getitem__
    assert MaskedLevels().hide(batch.tokens, batch).values.tolist() == batch.tokens.values.tolist()
    found = Joint(MaskedLevels()).losses(model, batch)["masked_levels"]
    rows = model.run(batch.tokens).rows
    logits = model.network.to_out(torch.stack([rows[0, 9], rows[1, 0]]))
    torch.testing.assert_close(found, cross_entropy(logits, torch.tensor([5, 1])))


def test_a_model_without_the_head_of_levels_is_refused(model) -> None:
    other = models.create("geneformer", ["ENSG01"], dim=4, n_layers=1, n_heads=1, max_length=5)
    with pytest.raises(InputError, match="Found Geneformer-0M; expected a model whose network is a Network of scbert"):
        MaskedLevels().prepare(other)
    tuned = models.create("scbert", ["CD3E", "LYZ"], dim=4, n_layers=1, n_heads=1, dim_head=3)
    with pytest.raises(InputError, match="Found scBERT with a head of classes; expected the head of levels"):
        Joint(CellTypes(2), MaskedLevels()).prepare(tuned)
