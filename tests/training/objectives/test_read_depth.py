"""Read-depth-aware reconstruction: the draws, the masks, and the loss of the published forward pass."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binom, kstest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models import Columns
from scfm_scverse.models.scfoundation.files import name_in_file
from scfm_scverse.models.scfoundation.model import ScFoundation
from scfm_scverse.tokens import Tokens
from scfm_scverse.tokens.read_depth import ReadDepth, TargetDepth, counts_of, with_counts
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import ReadDepthAware
from scfm_scverse.training.objectives.read_depth import Question, mask, thin
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings

if TYPE_CHECKING:
    from anndata import AnnData

CLOSE = {"rtol": 0, "atol": 2e-5}
GRADIENTS = {"rtol": 1e-4, "atol": 1e-6}
SIZES = {"dim": 16, "n_layers": 2, "n_heads": 2, "decoder_dim": 12, "decoder_layers": 1, "decoder_heads": 2}
SIZES |= {"decoder_dim_head": 8, "n_bins": 8}


def tokens_of(counts: np.ndarray, n_unknown: int = 0) -> Tokens:
    """Tokens of dense counts over a list that has ``n_unknown`` more genes, T and S."""
    n_genes = counts.shape[1]
    tokenize = ReadDepth(np.arange(n_genes, dtype=np.int32), n_genes + n_unknown + 2, TargetDepth.parse("t4"))
    return tokenize(sp.csr_matrix(counts.astype(np.float32)))


def batch_of(counts: np.ndarray, draw: int = 0, n_unknown: int = 0) -> Batch:
    return Batch(tokens_of(counts, n_unknown), np.arange(len(counts)) * 7 + 3, draw)


def dense(tokens: Tokens) -> np.ndarray:
    values = np.zeros((len(tokens), len(tokens.measured)), np.float32)
    values[np.repeat(np.arange(len(tokens)), tokens.lengths), tokens.ids] = tokens.values
    return values


def without_dropout(model: ScFoundation) -> ScFoundation:
    model = deepcopy(model)
    for module in model.network.modules():
        for name in ("dropout", "attention_dropout"):
            if hasattr(module, name):
                setattr(module, name, 0.0)
    model.network.train()
    return model


@pytest.fixture(scope="module", params=["", pytest.param("second", marks=pytest.mark.holdout)])
def golden(shared: Path, request: pytest.FixtureRequest) -> tuple[dict[str, np.ndarray], Path]:
    folder = shared / "golden" / "scfoundation" / request.param
    with np.load(folder / "rda.npz") as stored:
        return dict(stored), folder


def question_of(stored: dict[str, np.ndarray]) -> tuple[Batch, Question]:
    """The stored minibatch, and what the network was asked of it, made by our functions of its raw counts."""
    batch = batch_of(stored["rda_raw_counts"])
    thinned = stored["rda_input_counts"].astype(float)
    total = stored["rda_raw_counts"].sum(1)
    whole = replace(batch.tokens, extra={**batch.tokens.extra, "T": np.log10(total).astype(np.float32)})
    of = batch.cell_of_token
    tokens = with_counts(whole, thinned[of, whole.ids], thinned.sum(1))
    hidden = stored["rda_mask"]
    cell = np.repeat(np.arange(len(tokens)), tokens.lengths)
    kept = ~hidden[cell, tokens.ids]
    indptr = np.concatenate([[0], np.cumsum(np.bincount(cell[kept], minlength=len(tokens)))])
    seen = replace(tokens, indptr=indptr, ids=tokens.ids[kept], values=tokens.values[kept])
    cells, genes = hidden.nonzero()
    return batch, Question(seen, cells, genes, dense(batch.tokens)[cells, genes])


def test_loss_and_gradients_are_those_of_the_published_forward_pass(
    golden: tuple[dict[str, np.ndarray], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, folder = golden
    batch, question = question_of(stored)
    np.testing.assert_allclose(
        dense(question.tokens)[:, :-2], stored["rda_tokens"][:, :-2] * ~stored["rda_mask"], **CLOSE
    )
    depths = np.column_stack([question.tokens.extra["T"], question.tokens.extra["S"]])
    np.testing.assert_allclose(depths, stored["rda_tokens"][:, -2:], **CLOSE)
    np.testing.assert_allclose(question.told, stored["rda_target"][stored["rda_mask"]], **CLOSE)
    model = without_dropout(scfm.models.load(folder, key="gene"))
    predicted = model.predict_masked(question.tokens, question.cells, question.genes)
    np.testing.assert_allclose(predicted.detach(), stored["rda_pred_batch_of_one"][stored["rda_mask"]], **CLOSE)
    objective = ReadDepthAware()
    objective.prepare(model)
    monkeypatch.setattr(objective, "ask", lambda *_: question)
    (loss,) = objective.losses(model, batch).values()
    np.testing.assert_allclose(loss.item(), stored["rda_loss_batch_of_one"], rtol=1e-5)
    loss.backward()
    found = {name_in_file(name): one.grad for name, one in model.network.named_parameters()}
    whole = [name for name in stored if name.startswith("rda_grad1::")]
    for name in whole:
        gradient = found[name.removeprefix("rda_grad1::")]
        np.testing.assert_allclose(torch.zeros(()) if gradient is None else gradient, stored[name], **GRADIENTS)
    assert len(whole) > 10
    assert set(stored["rda_grad_norms_names"].tolist()) == set(found)
    for name, norm in zip(stored["rda_grad_norms_names"], stored["rda_grad_norms_batch_of_one"], strict=True):
        gradient = found[name]
        np.testing.assert_allclose(
            0.0 if gradient is None else gradient.norm(), max(norm, 0), err_msg=name, **GRADIENTS
        )


@settings(max_examples=25)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 30, 3000, 200_000]))
def test_counts_are_found_again_in_log_values(seed: int, largest: int) -> None:
    rng = np.random.default_rng(seed)
    counts = np.floor(largest ** rng.random((4, 30))) * (rng.random((4, 30)) < 0.7)
    counts[:, 0] = largest
    tokens = tokens_of(counts)
    np.testing.assert_array_equal(counts_of(tokens), counts[counts > 0])
    again = with_counts(tokens, counts_of(tokens), tokens.extra["total"])
    np.testing.assert_allclose(again.values, tokens.values, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(again.ids, tokens.ids)
    np.testing.assert_array_equal(again.extra["S"], tokens.extra["S"])


@given(st.integers(0, 2**32 - 1), st.permutations(range(8)), st.integers(1, 8))
@settings(max_examples=30)
def test_what_is_asked_of_a_cell_depends_on_the_cell_alone(seed: int, order: list[int], n: int) -> None:
    counts = np.random.default_rng(seed).poisson(2.0, (8, 40))
    batch, some = batch_of(counts, n_unknown=3), np.array(order[:n])
    part = Batch(batch.tokens.take(some), batch.cells[some], batch.draw)
    whole, less = (ReadDepthAware(least=1, zeros=0.2).ask(one) for one in (batch, part))
    for at, cell in enumerate(some):
        np.testing.assert_array_equal(less.genes[less.cells == at], whole.genes[whole.cells == cell])
        np.testing.assert_array_equal(less.told[less.cells == at], whole.told[whole.cells == cell])
        one, other = less.tokens.take(np.array([at])), whole.tokens.take(np.array([cell]))
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.values, other.values)
        assert {name: float(number[0]) for name, number in one.extra.items()} == {
            name: float(number[0]) for name, number in other.extra.items()
        }


def test_masked_genes_are_not_seen_and_told_as_they_were() -> None:
    counts = np.random.default_rng(0).poisson(1.0, (20, 200))
    batch = batch_of(counts, n_unknown=10)
    asked = ReadDepthAware(least=1).ask(batch)
    seen = dense(asked.tokens)
    assert not seen[asked.cells, asked.genes].any()
    np.testing.assert_array_equal(asked.told, dense(batch.tokens)[asked.cells, asked.genes])
    assert asked.genes.max() < 200
    assert (np.diff(asked.cells) >= 0).all()
    np.testing.assert_allclose(asked.tokens.extra["T"], np.log10(counts.sum(1)), rtol=1e-6)


def test_shares_of_masked_genes_are_those_asked_for() -> None:
    counts = np.random.default_rng(0).poisson(0.5, (40, 2000))
    batch = batch_of(counts)
    asked = mask(batch, batch.tokens, expressed=0.3, zeros=0.03)
    hidden = np.zeros(counts.shape, bool)
    hidden[asked.cells, asked.genes] = True
    assert hidden[counts > 0].mean() == pytest.approx(0.3, abs=0.01)
    assert hidden[counts == 0].mean() == pytest.approx(0.03, abs=0.003)


def test_thinned_counts_are_binomial_with_a_chance_from_beta() -> None:
    n, size = 4000, 40
    counts = np.column_stack([np.full(n, size), np.full(n, 10**5)])
    batch = batch_of(counts)
    thinned = thin(batch, np.ones(n, bool))
    left = np.zeros((n, 2))
    left[np.repeat(np.arange(n), thinned.lengths), thinned.ids] = counts_of(thinned)
    np.testing.assert_allclose(thinned.extra["total"], left.sum(1))
    chance = left[:, 1] / 10**5  # next to exact
    assert kstest(chance, beta(2, 2).cdf).pvalue > 1e-3
    # A count between two steps of its distribution function is uniform between them.
    low, high = binom.cdf(left[:, 0] - 1, size, chance), binom.cdf(left[:, 0], size, chance)
    middle = low + (high - low) * np.random.default_rng(0).random(n)
    assert kstest(middle, "uniform").pvalue > 1e-3
    np.testing.assert_allclose(thinned.extra["S"], np.log10(left.sum(1)), rtol=1e-6)


def test_half_of_the_deep_cells_are_thinned_and_no_shallow_one() -> None:
    counts = np.random.default_rng(0).poisson(np.repeat([[2.0], [30.0]], 500, axis=0), (1000, 50))
    asked = ReadDepthAware().ask(batch_of(counts))
    lower = asked.tokens.extra["total"] < counts.sum(1)
    assert not lower[:500].any()
    assert lower[500:].mean() == pytest.approx(0.5, abs=0.08)
    again, other = (ReadDepthAware().ask(batch_of(counts, draw)) for draw in (0, 1))
    np.testing.assert_array_equal(again.genes, asked.genes)
    assert not np.array_equal(other.genes, asked.genes)


def test_cell_of_which_nothing_would_be_left_stays_whole() -> None:
    counts = np.zeros((500, 3))
    counts[:, 0] = 1
    thinned = thin(batch_of(counts), np.ones(500, bool))
    np.testing.assert_array_equal(thinned.lengths, 1)
    np.testing.assert_array_equal(thinned.extra["total"], 1)


def test_totals_beyond_the_matrix_are_thinned_with_it() -> None:
    counts = np.full((200, 2), 1000.0)
    tokenize = ReadDepth(np.arange(2, dtype=np.int32), 4, TargetDepth.parse("t4"))
    tokens = tokenize(sp.csr_matrix(counts.astype(np.float32)), np.full(200, 10_000.0))
    thinned = thin(Batch(tokens, np.arange(200), 0), np.ones(200, bool))
    shares = np.array([part.sum() for part in np.split(counts_of(thinned), thinned.indptr[1:-1])]) / 2000
    np.testing.assert_allclose(thinned.extra["total"] / 10_000, shares, atol=0.08)


def test_minibatch_in_which_nothing_is_masked_has_no_loss(golden: tuple[dict[str, np.ndarray], Path]) -> None:
    model = scfm.models.load(golden[1], key="gene")
    batch = batch_of(golden[0]["rda_raw_counts"])
    (loss,) = ReadDepthAware(expressed=0, zeros=0).losses(model, batch).values()
    assert loss.item() == 0


def test_model_that_cannot_be_trained_so_is_refused(golden: tuple[dict[str, np.ndarray], Path]) -> None:
    for options, message in (
        ({"key": "cell"}, "key='gene'"),
        ({"key": "gene", "pre_normalized": "A"}, "pre_normalized='F'"),
        ({"key": "gene", "input_type": "bulk"}, "a model of cells"),
    ):
        with pytest.raises(InputError, match=message):
            ReadDepthAware().prepare(scfm.models.load(golden[1], **options))
    with pytest.raises(InputError, match="Found scfm-mini; expected scFoundation"):
        ReadDepthAware().prepare(scfm.models.load("scfm-mini"))


def test_training_in_bfloat16_is_near_that_in_float32(golden: tuple[dict[str, np.ndarray], Path]) -> None:
    model = without_dropout(scfm.models.load(golden[1], key="gene"))
    batch = batch_of(golden[0]["rda_raw_counts"])
    exact = ReadDepthAware(least=1).losses(model, batch)["read_depth"]
    model.network.to(torch.bfloat16)
    short = ReadDepthAware(least=1).losses(model, batch)["read_depth"]
    assert short.dtype == torch.float32
    assert short.item() == pytest.approx(exact.item(), rel=0.1)
    short.backward()


@pytest.mark.slow
def test_training_on_real_cells_learns_what_genes_are_like(read_cells: Callable[[str], AnnData]) -> None:
    adata = read_cells("pbmc3k_10x")
    seen = np.asarray((adata.X > 0).mean(0)).ravel()
    adata = adata[:600, np.argsort(-seen)[:150]].copy()
    model = scfm.models.create("scfoundation", adata.var_names.tolist(), **SIZES)
    columns = Columns(np.arange(adata.n_vars, dtype=np.int32), np.ones(adata.n_vars, bool), 0.0)
    cells = Cells(adata.X, model.tokenizer(columns))
    training = Minibatches(cells, np.arange(500), batch_size=20)
    validation = Minibatches(cells, np.arange(500, 600), batch_size=50, shuffle=False)
    before = model.spec.id
    objective = ReadDepthAware(least=200, zeros=0.3)
    settings = TrainSettings(max_epochs=5, optimizer="adamw", lr=0.02)
    history = fit(model, objective, training, validation, settings=settings)
    losses = history["validation_loss"].dropna().to_numpy()
    values = np.log1p(adata.X.toarray() / np.asarray(adata.X.sum(1)) * 1e4)
    of_mean = float(((values[500:] - values[:500].mean(0)) ** 2).mean())
    assert losses[-1] < 0.9 * losses[0]
    assert losses[-1] < 1.2 * of_mean
    assert model.spec.id != before
