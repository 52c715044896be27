"""Expression that is hidden from scGPT: which genes, how many, and what is made of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models.scgpt.network import ScgptConfig, ScgptNetwork
from scfm_scverse.training.objectives import Joint, MaskedExpression
from support import random_genes, scgpt_batch

GENES = [f"GENE{at}" for at in range(60)]
CLS = 1


def small(**sizes: Any) -> Any:
    return models.create("scgpt", GENES, dim=8, n_layers=1, n_heads=2, **sizes)


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 6), st.floats(0.01, 1), st.integers(0, 2**31))
def test_that_share_of_each_cell_is_hidden_whatever_cells_it_meets(seed: int, n: int, share: float, draw: int) -> None:
    cells, numbers = random_genes(n, seed), np.random.default_rng(seed).permutation(1000)[:n].tolist()
    objective, together = MaskedExpression(share), scgpt_batch(cells, numbers, draw)
    values = objective.hide(together.tokens, together).values
    hidden = objective.hidden(together)
    np.testing.assert_array_equal(values, np.where(hidden, -1, together.tokens.values))
    assert not hidden[together.tokens.ids == CLS].any()
    for at, cell in enumerate(cells):
        start, stop = together.tokens.indptr[at : at + 2]
        assert hidden[start:stop].sum() == max(1, int(len(cell) * share))
        alone = scgpt_batch([cell], [numbers[at]], draw)
        np.testing.assert_array_equal(objective.hidden(alone), hidden[start:stop])


def test_every_gene_of_a_cell_is_hidden_as_often_as_any_other() -> None:
    cell, objective = np.arange(3, 33), MaskedExpression(0.4)
    often = sum(objective.hidden(scgpt_batch([cell], [7], draw))[1:].astype(int) for draw in range(2000))
    assert abs(often / 2000 - 0.4).max() < 0.05
    other = np.concatenate([objective.hidden(scgpt_batch([cell], [number]))[1:] for number in range(100)])
    assert other.reshape(100, 30).any(axis=0).all()


def test_losses_are_those_of_the_formula() -> None:
    model, batch = small(), scgpt_batch(random_genes(4, 0), [0, 1, 2, 3])
    objective = MaskedExpression(0.3, nonzero=True, weight=2)
    joint = Joint(objective)
    joint.prepare(model)
    losses = joint.losses(model, batch)
    at = torch.from_numpy(objective.hidden(batch))
    seen = model.run(objective.hide(batch.tokens, batch))
    cell = seen.cell[torch.from_numpy(batch.cell_of_token)[at]]
    target = torch.from_numpy(batch.tokens.values)[at]
    network = model.network
    rows = network.decoder(seen.rows[at])
    vectors = network.encoder(torch.from_numpy(batch.tokens.ids)[at])
    from_cell = network.mvc_decoder(cell, vectors)
    for name, told in (("expression", rows), ("from_cell", from_cell)):
        torch.testing.assert_close(losses[name], 2 * (told.value - target).square().mean())
        torch.testing.assert_close(losses[f"{name}_nonzero"], -2 * told.nonzero.log().mean())
    assert len(losses) == 4
    sum(losses.values()).backward()
    untrained = [name for name, one in network.named_parameters() if one.grad is None]
    assert untrained == ["flag_encoder.weight"]


def test_a_cell_without_genes_counts_in_no_loss() -> None:
    model, cells = small(), random_genes(2, 1)
    objective = Joint(MaskedExpression())
    alone = objective.losses(model, scgpt_batch(cells, [3, 4]))
    beside = objective.losses(model, scgpt_batch([*cells, np.array([], int)], [3, 4, 5]))
    assert {name: one.item() for name, one in beside.items()} == pytest.approx(
        {name: one.item() for name, one in alone.items()}
    )
    nothing = objective.losses(model, scgpt_batch([np.array([], int)], [5]))
    assert [one.item() for one in nothing.values()] == [0, 0]


def test_categories_have_one_for_what_is_hidden() -> None:
    model = small()
    config = ScgptConfig(63, 0, 8, 2, 8, 1, value_style="category", n_values=70)
    model.network = ScgptNetwork(config)
    objective = MaskedExpression(0.5)
    Joint(objective).prepare(model)
    batch = scgpt_batch([np.arange(3, 13)], [0])
    assert sorted(set(objective.hide(batch.tokens, batch).values) - set(batch.tokens.values)) == [69]


@pytest.mark.parametrize(
    "config", [{"expression": False}, {"perturbation": True}, {"n_modalities": 4}, {"value_style": "scaling"}], ids=str
)
def test_a_scgpt_that_cannot_tell_hidden_values_is_refused(config: dict[str, Any]) -> None:
    model = small()
    model.network = ScgptNetwork(ScgptConfig(63, 0, 8, 2, 8, 1, **config))
    with pytest.raises(InputError, match="expected one that tells hidden values"):
        MaskedExpression().prepare(model)


def test_another_family_is_refused() -> None:
    genes = [f"ENSG0000000{at}" for at in range(1000, 1100)]
    model = models.create("geneformer", genes, dim=8, n_layers=1, n_heads=2)
    with pytest.raises(InputError, match="expected a model whose network is a ScgptNetwork"):
        MaskedExpression().prepare(model)


@pytest.mark.parametrize("share", [0, -0.1, 1.1])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InputError, match=f"share={share}"):
        MaskedExpression(share)
