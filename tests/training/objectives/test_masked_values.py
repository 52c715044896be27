"""Values that are hidden for the latent transformer: which, what is asked, and that the network learns to tell them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from anndata import AnnData
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse._query import read_query
from scfm_scverse.models.scfm_latent.decoder import Told
from scfm_scverse.models.scfm_latent.model import ScfmLatent
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedValues

N_GENES = 60


@pytest.fixture(scope="module")
def model() -> ScfmLatent:
    names = [f"GENE{at}" for at in range(N_GENES)]
    return models.create("scfm-latent", names, dim=16, n_layers=2, n_heads=2, n_latents=4)


def batch_of(lengths: list[int], numbers: list[int], draw: int = 0, n_measured: int = N_GENES) -> Batch:
    """Cells of so many genes; which and with what values depends on the number of the cell."""
    rngs = [np.random.default_rng(number) for number in numbers]
    ids = [np.sort(rng.permutation(n_measured)[:n]) for rng, n in zip(rngs, lengths, strict=True)]
    values = [rng.uniform(0.5, 4, n) for rng, n in zip(rngs, lengths, strict=True)]
    measured = np.arange(N_GENES) < n_measured
    indptr = np.cumsum([0, *lengths])
    tokens = Tokens(indptr, np.concatenate(ids).astype(np.int32), np.concatenate(values).astype(np.float32), measured)
    return Batch(tokens, np.array(numbers), draw)


class Answers:
    """Stands in for what the decoder tells, and remembers what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, model: ScfmLatent, answer: Callable[[Tensor], Told]) -> None:
        self.asked: list[tuple[np.ndarray, np.ndarray]] = []

        def tell(memory: Tensor, genes: Tensor, lengths: tuple[int, ...]) -> Told:
            self.asked.append((np.repeat(np.arange(len(lengths)), lengths), genes.numpy()))
            return answer(genes)

        monkeypatch.setattr(model.network, "tell", tell)


def no_idea(genes: Tensor) -> Told:
    return Told(torch.zeros(len(genes)), torch.zeros(len(genes)))


@settings(max_examples=25)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 2**20), st.floats(0.05, 0.95))
def test_a_share_of_every_cell_is_hidden_and_depends_on_the_cell_alone(
    lengths: list[int], draw: int, share: float
) -> None:
    objective, numbers = MaskedValues(share=share), list(range(3, 3 + len(lengths)))
    together = batch_of(lengths, numbers, draw)
    values = objective.hide(together.tokens, together).values
    hidden = values < 0
    np.testing.assert_array_equal(
        np.add.reduceat(hidden, together.tokens.indptr[:-1]), [int(share * n) for n in lengths]
    )
    np.testing.assert_array_equal(values[~hidden], together.tokens.values[~hidden])
    for at, n in enumerate(lengths):
        alone = batch_of([n], [numbers[at]], draw)
        start, stop = together.tokens.indptr[at : at + 2]
        np.testing.assert_array_equal(objective.hide(alone.tokens, alone).values, values[start:stop])


def test_hidden_genes_and_measured_zeros_are_asked_for(model: ScfmLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths = [1, 20, 30, 2, 25]
    batch, objective = batch_of(lengths, [4, 2, 9, 7, 5], n_measured=50), MaskedValues(share=0.5, n_asked=24)
    answers = Answers(monkeypatch, model, no_idea)
    Joint(objective).losses(model, batch)
    (cells, genes), again = answers.asked
    np.testing.assert_array_equal(again[1], genes)
    hidden = objective.hide(batch.tokens, batch).values < 0
    for cell, n in enumerate(lengths):
        here = slice(*batch.tokens.indptr[cell : cell + 2])
        expressed, concealed = set(batch.tokens.ids[here]), set(batch.tokens.ids[here][hidden[here]])
        asked = genes[cells == cell]
        told = [one for one in asked if one in expressed]
        assert set(told) <= concealed
        assert len(told) == len(set(told)) == min(n // 2, 12)
        assert max(asked, default=0) < 50
        assert (len(asked) > len(told)) == (n > 1)


def test_what_is_asked_for_depends_on_the_cell_alone(model: ScfmLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, numbers, objective = [30, 9, 17], [11, 2, 6], MaskedValues(n_asked=10)
    answers = Answers(monkeypatch, model, no_idea)
    Joint(objective).losses(model, batch_of(lengths, numbers, draw=8))
    cells, genes = answers.asked[0]
    for at in range(3):
        Joint(objective).losses(model, batch_of(lengths[at : at + 1], numbers[at : at + 1], draw=8))
        np.testing.assert_array_equal(answers.asked[-1][1], genes[cells == at])
    Joint(objective).losses(model, batch_of(lengths, numbers, draw=9))
    assert not np.array_equal(answers.asked[-1][1], genes)


def test_losses_are_those_of_the_formulas(model: ScfmLatent, monkeypatch: pytest.MonkeyPatch) -> None:
    batch, objective = batch_of([20, 30], [1, 2]), MaskedValues(share=0.5, n_asked=16, from_cell=0.25, weight=2.0)
    answers = Answers(monkeypatch, model, lambda genes: Told(torch.full((len(genes),), 1.5), genes / N_GENES))
    losses = Joint(objective).losses(model, batch)
    cells, genes = answers.asked[0]
    values = [{**dict(zip(batch.tokens.ids[:20], batch.tokens.values[:20], strict=True))}]
    values.append(dict(zip(batch.tokens.ids[20:], batch.tokens.values[20:], strict=True)))
    errors, entropy = [], []
    for cell, gene in zip(cells, genes, strict=True):
        value = values[cell].get(gene, 0.0)
        if value:
            errors.append((1.5 - value) ** 2)
        # Of n expressed genes 8 are asked for, and each of the 60 genes an expected 8 / 60 times if it is zero.
        logit = gene / N_GENES + np.log(8 / [20, 30][cell]) - np.log(8 / N_GENES)
        entropy.append(np.log1p(np.exp(-logit if value else logit)))
    assert len(errors) == 16
    expected = {"values": 2 * np.mean(errors), "expressed": 2 * np.mean(entropy)}
    assert {name: pytest.approx(value, rel=1e-5) for name, value in expected.items()} == {
        name: float(losses[name]) for name in expected
    }
    for name, value in expected.items():
        assert float(losses[f"{name}_from_cell"]) == pytest.approx(value / 4, rel=1e-5)


def test_the_logit_is_that_of_all_genes_and_not_of_those_asked_for(
    model: ScfmLatent, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A sixth of the genes is expressed: so the loss must be least for the logit of a sixth.
    logit = torch.tensor(np.log(1 / 5), requires_grad=True)
    Answers(monkeypatch, model, lambda genes: Told(torch.zeros(len(genes)), logit.expand(len(genes))))
    batch = batch_of([10] * 300, list(range(300)))
    losses = Joint(MaskedValues(share=0.5, n_asked=20)).losses(model, batch)
    (slope,) = torch.autograd.grad(losses["expressed"], logit)
    assert abs(float(slope)) < 0.01


def test_gradients_reach_every_parameter(model: ScfmLatent) -> None:
    batch = batch_of([40] * 8, list(range(8)))
    batch = replace(batch, labels=torch.arange(8) % 2)
    objective = Joint(MaskedValues(n_asked=400), CellTypes(2))
    objective.prepare(model)
    sum(objective.losses(model, batch).values()).backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.any(), name
    assert model.network.genes.weight.grad.any(1).all()
    assert model.network.decoder.usual.weight.grad.any(1).all()


def test_a_minibatch_with_nothing_to_hide_has_no_loss(model: ScfmLatent) -> None:
    losses = Joint(MaskedValues()).losses(model, batch_of([1, 1], [0, 1]))
    assert not any(losses.values())
    sum(losses.values()).backward()


def test_other_models_and_shares_are_refused() -> None:
    other = models.create("scgpt", [f"GENE{at}" for at in range(N_GENES)], dim=16, n_layers=1, n_heads=2)
    with pytest.raises(InputError, match=r"scGPT cannot be asked for genes; expected a model of .*'scfm-latent'"):
        Joint(MaskedValues(share=0.01)).losses(other, batch_of([5], [0]))
    for share in (0.0, 1.0):
        with pytest.raises(InputError, match=f"share={share}"):
            MaskedValues(share=share)


@pytest.mark.slow
def test_hidden_values_of_unseen_cells_are_told_better_than_by_the_means_of_genes(
    read_cells: Callable[[str], AnnData], monkeypatch: pytest.MonkeyPatch
) -> None:
    adata = read_cells("symphony_pbmc_3chem_1767genes")
    model = models.create("scfm-latent", adata.var_names.tolist(), dim=32, n_layers=2, n_heads=4, n_latents=8)
    options = {"layer": None, "use_raw": False, "normalized": None, "gene_symbols": None, "organism": None}
    query = read_query(adata, model, **options)
    cells = Cells(query.values.matrix, model.tokenizer(query.columns))
    rows = np.random.default_rng(0).permutation(adata.n_obs)
    training, held_out = np.sort(rows[200:]), np.sort(rows[:200])
    objective = Joint(MaskedValues(n_asked=256))

    def loss() -> dict[str, float]:
        with torch.no_grad():
            return {name: float(part) for name, part in objective.losses(model, cells.read(held_out, -1)).items()}

    seen = cells.read(training, 0).tokens
    n_cells = np.bincount(seen.ids, minlength=len(model.spec.genes))
    mean = np.bincount(seen.ids, weights=seen.values, minlength=len(n_cells)) / np.maximum(n_cells, 1)
    odds = np.log((n_cells + 0.5) / (len(training) - n_cells + 0.5))
    means = Told(*(torch.from_numpy(one).float() for one in (mean, odds)))
    with monkeypatch.context() as patched:
        Answers(patched, model, lambda genes: Told(means.value[genes], means.logit[genes]))
        constant = loss()
    optimizer = torch.optim.AdamW(model.network.parameters(), 3e-3)
    minibatches = Minibatches(cells, training, batch_size=32)
    for _ in range(4):
        for batch in minibatches:
            optimizer.zero_grad()
            sum(objective.losses(model, batch).values()).backward()
            optimizer.step()
    trained = loss()
    for name, part in constant.items():
        assert trained[name] < part, name
    assert trained["values"] < 0.9 * constant["values"]
