"""Genes that scGPT is asked for in pre-training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.genes import resolve_genes
from scfm_scverse.models.scgpt.generative import generate
from scfm_scverse.models.scgpt.network import ScgptConfig, ScgptNetwork
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import GenerativeExpression
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings
from support import random_genes, scgpt_batch

if TYPE_CHECKING:
    from anndata import AnnData

GENES = [f"GENE{at}" for at in range(60)]
CLS = 1


@pytest.fixture(scope="module")
def model() -> Any:
    return models.create("scgpt", GENES, dim=8, n_layers=2, n_heads=2)


@settings(max_examples=25)
@given(st.integers(0, 2**20), st.integers(1, 6), st.integers(0, 2**31))
def test_what_a_cell_is_asked_for_depends_on_the_cell_alone(model: Any, seed: int, n: int, draw: int) -> None:
    cells, numbers = random_genes(n, seed), np.random.default_rng(seed).permutation(1000)[:n].tolist()
    objective = GenerativeExpression((0.25, 0.5, 0.75))
    question, target = objective.question(model, scgpt_batch(cells, numbers, draw))
    known, asked = question.ids.split(question.spans.lengths), question.asked_ids.split(question.asked_spans.lengths)
    assert (target == question.asked_ids).all()
    for cell, number, has, wants in zip(cells, numbers, known, asked, strict=True):
        assert has[0] == CLS
        assert sorted([*has[1:].tolist(), *wants.tolist()]) == sorted(cell)
        assert len(wants) in {max(1, int(len(cell) * share)) for share in (0.25, 0.5, 0.75)}
        alone, _ = objective.question(model, scgpt_batch([cell], [number], draw))
        assert alone.asked_ids.tolist() == wants.tolist()


def test_shares_are_drawn_evenly_and_genes_too(model: Any) -> None:
    cell = np.arange(3, 43)
    found = [
        GenerativeExpression().question(model, scgpt_batch([cell] * 30, list(range(30)), draw))[0] for draw in range(30)
    ]
    shares = np.array([length / 40 for one in found for length in one.asked_spans.lengths])
    assert {share: (shares == share).mean().round(1) for share in (0.25, 0.5, 0.75)} == dict.fromkeys(
        (0.25, 0.5, 0.75), 0.3
    )
    often = torch.cat([one.asked_ids for one in found]).bincount(minlength=63)[3:43] / 900
    assert (often - 0.5).abs().max() < 0.06


def test_losses_are_those_of_both_passes(model: Any) -> None:
    batch, objective = scgpt_batch(random_genes(5, 0), list(range(5))), GenerativeExpression(from_vector=0.5, weight=2)
    objective.prepare(model)
    question, target = objective.question(model, batch)
    first = generate(model.network, question)
    again = generate(model.network, question, cell=first.cell.detach())
    losses = objective.losses(model, batch)
    expected = {
        "expression": 2 * (first.asked - target).square().mean(),
        "from_cell": 2 * (first.asked_from_cell - target).square().mean(),
        "from_vector": (again.asked - target).square().mean(),
    }
    assert losses.keys() == expected.keys()
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss)
    sum(losses.values()).backward()
    assert all(one.grad is not None for one in model.network.parameters())
    assert set(GenerativeExpression(from_vector=0).losses(model, batch)) == {"expression", "from_cell"}


def test_a_network_that_cannot_be_asked_is_refused(model: Any) -> None:
    tuned = models.create("scgpt", GENES, dim=8, n_layers=1, n_heads=2)
    tuned.network = ScgptNetwork(ScgptConfig(63, 0, 8, 2, 8, 1))
    with pytest.raises(InputError, match="without flag_encoder"):
        GenerativeExpression().prepare(tuned)


@pytest.mark.parametrize("shares", [(), (0, 0.5), (1.0,)])
def test_shares_that_leave_nothing_to_ask_or_to_know_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="expected one at least"):
        GenerativeExpression(shares)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_loss_falls_on_real_cells(read_cells: Callable[[str], AnnData], precision: Any) -> None:
    adata = read_cells("symphony_pbmc_3chem_1767genes")
    model = models.create("scgpt", adata.var_names.tolist(), dim=32, n_layers=2, n_heads=4, max_length=60)
    match = resolve_genes(adata.var_names.tolist(), organism="human")
    columns = models.Columns(model.positions(match, None), match.is_gene, 0.0)
    cells = Cells(adata.X, model.tokenizer(columns))
    order = np.random.default_rng(0).permutation(adata.n_obs)
    settings = TrainSettings(
        max_epochs=2, lr=1e-2, optimizer="adamw", precision=precision, recompute=precision == "bfloat16"
    )
    history = fit(
        model,
        GenerativeExpression(),
        Minibatches(cells, order[:240], batch_size=16),
        Minibatches(cells, order[400:460], batch_size=60, shuffle=False),
        settings=settings,
    )
    for name in ("expression", "from_cell", "from_vector"):
        first, last = history[f"validation_{name}"].dropna()
        assert last < 0.9 * first, name
