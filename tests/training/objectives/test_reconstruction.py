"""Telling hidden expression with a linear model: the loss by its formula, the draws, and real cells."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import scipy.sparse as sp

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models import Columns
from scfm_scverse.models.scfm_mini import ScfmMini
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import CellTypes, Joint, Reconstruction
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings

if TYPE_CHECKING:
    from anndata import AnnData

V, D = 40, 4


def model_of(n: int = V, **options: Any) -> ScfmMini:
    genes = scfm.models.load("scfm-mini").spec.genes[:n].tolist()
    model = scfm.models.create("scfm-mini", genes, **{"dim": D, **options})
    assert isinstance(model, ScfmMini)
    return model


@pytest.fixture
def model() -> ScfmMini:
    rng = np.random.default_rng(1)
    return model_of(mean=rng.gamma(1, 1, V), sd=rng.uniform(0.1, 1, V))


def batch_of(n: int = 12, draw: int = 0) -> Batch:
    """Log values over three quarters of the genes."""
    rng = np.random.default_rng(0)
    measured = rng.random(V) < 0.75
    values = rng.gamma(2, 1, (n, V)) * (rng.random((n, V)) < 0.4) * measured
    values[:, np.flatnonzero(measured)[0]] = 1
    block = sp.csr_matrix(values.astype(np.float32))
    return Batch(Tokens(block.indptr.astype(np.int64), block.indices, block.data, measured), np.arange(n) + 5, draw)


def naive_loss(model: ScfmMini, batch: Batch, shown: Tokens) -> float:
    """Loss over all genes that the model is shown as zero, cell by cell."""
    weights, measured = model.weights, batch.tokens.measured
    gene = weights.embedding[measured].astype(np.float64)
    errors = []
    for cell in range(len(batch)):
        here = slice(shown.indptr[cell], shown.indptr[cell + 1])
        levels = []
        for values in (shown.values, batch.tokens.values):
            dense = np.zeros(V)
            dense[shown.ids[here]] = values[here]
            levels.append(np.clip((dense - weights.mean) / weights.sd, -8, 8)[measured])
        as_zero = dense[measured] == 0
        as_zero[np.isin(np.flatnonzero(measured), shown.ids[here][shown.values[here] == 0])] = True
        vector = np.linalg.solve(gene.T @ gene + weights.ridge * np.eye(D), gene.T @ levels[0])
        errors.extend(((gene @ vector - levels[1])[as_zero] ** 2).tolist())
    return float(np.mean(errors))


@pytest.mark.parametrize("hidden", [0.0, 0.3, 1.0])
def test_loss_is_that_of_the_naive_twin(model: ScfmMini, hidden: float) -> None:
    batch, objective = batch_of(), Reconstruction(hidden=hidden)
    objective.prepare(model)
    (loss,) = Joint(objective).losses(model, batch).values()
    assert loss.item() == pytest.approx(naive_loss(model, batch, objective.hide(batch.tokens, batch)), rel=1e-4)


def test_what_is_hidden_depends_on_the_cell_alone(model: ScfmMini) -> None:
    batch, some = batch_of(), np.array([7, 2, 9])
    part = Batch(batch.tokens.take(some), batch.cells[some], batch.draw)
    whole, less = (Reconstruction().hide(one.tokens, one) for one in (batch, part))
    np.testing.assert_array_equal(whole.take(some).values, less.values)
    shares = (whole.values == 0).mean()
    assert 0.15 < shares < 0.45
    again = Reconstruction().hide(batch.tokens, batch_of(draw=1))
    assert not np.array_equal(again.values, whole.values)


def test_gradient_reaches_the_vectors_of_genes_and_goes_down(model: ScfmMini) -> None:
    batch, objective = batch_of(), Joint(Reconstruction())
    (before,) = objective.losses(model, batch).values()
    before.backward()
    weight = model.network.genes.weight
    assert weight.grad is not None
    assert not weight.grad[~batch.tokens.measured].any()
    weight.data -= 0.01 * weight.grad / weight.grad.norm()
    (after,) = objective.losses(model, batch).values()
    assert after.item() < before.item()


def test_other_models_are_refused() -> None:
    other = scfm.models.create("scgpt", ["CD3E", "LYZ"], dim=8, n_layers=1, n_heads=1)
    with pytest.raises(InputError, match="Found scGPT; expected a model whose network is a MiniNetwork"):
        Reconstruction().prepare(other)


def dense(batch: Batch, values: np.ndarray) -> np.ndarray:
    out = np.zeros((len(batch), len(batch.tokens.measured)))
    out[batch.cell_of_token, batch.tokens.ids] = values
    return out


@pytest.mark.slow
def test_gene_vectors_learned_on_real_cells_tell_hidden_genes_by_the_others(
    read_cells: Callable[[str], AnnData],
) -> None:
    adata = read_cells("pbmc3k_10x")[:800].copy()
    seen = np.asarray((adata.X > 0).mean(0)).ravel()
    adata = adata[:, np.argsort(-seen)[:400]].copy()
    values = np.log1p(adata.X.toarray() / np.asarray(adata.X.sum(1)) * 1e4)
    mean, sd = values[:600].mean(0), values[:600].std(0)
    model, objective = model_of(400, dim=16, mean=mean, sd=sd), Reconstruction()
    columns = Columns(np.arange(400, dtype=np.int32), np.ones(400, bool), 0.0)
    labels = (values[:, list(adata.var_names).index("LYZ")] > 4).astype(np.int64)
    cells = Cells(adata.X, model.tokenizer(columns), labels=labels)
    training, validation = np.arange(600), np.arange(600, 800)
    history = fit(
        model,
        Joint(objective, CellTypes(2, weight=0.1)),
        Minibatches(cells, training, batch_size=50),
        Minibatches(cells, validation, batch_size=100, shuffle=False),
        settings=TrainSettings(max_epochs=15, optimizer="adamw", lr=0.02, weight_decay=0.0),
    )
    # What a gene that is shown as zero turns out to be on average, whatever the other genes of the cell are.
    batches = [cells.read(rows, -1) for rows in (training, validation)]
    as_zero = [dense(batch, objective.hide(batch.tokens, batch).values) == 0 for batch in batches]
    levels = [np.clip((dense(batch, batch.tokens.values) - mean) / sd, -8, 8) for batch in batches]
    of_gene = (levels[0] * as_zero[0]).sum(0) / as_zero[0].sum(0).clip(1)
    of_mean = float(((levels[1] - of_gene) ** 2)[as_zero[1]].mean())
    assert history["validation_reconstruction"].dropna().iloc[-1] < 0.95 * of_mean
    assert history["validation_cell_types"].dropna().iloc[-1] < 0.1 * 0.25  # 0.69 before training
