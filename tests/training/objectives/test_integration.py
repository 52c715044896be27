"""Objectives that make batches alike."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.genes import resolve_genes
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.cells import Cells, Minibatches
from scfm_scverse.training.objectives import (
    CellTypes,
    DomainAdversarial,
    DomainNorms,
    ElasticSimilarity,
    Joint,
    integration,
)
from scfm_scverse.training.run import fit
from scfm_scverse.training.settings import TrainSettings
from support import random_genes, scgpt_batch

if TYPE_CHECKING:
    from anndata import AnnData

GENES = [f"GENE{at}" for at in range(60)]


@pytest.fixture
def model() -> Any:
    return models.create("scgpt", GENES, dim=8, n_layers=2, n_heads=2)


def of_two_batches(n: int = 6) -> Batch:
    return scgpt_batch(random_genes(n, 0), list(range(n)), batches=torch.arange(n) % 2)


def test_the_integration_of_a_network_without_any_of_its_parts(model: Any) -> None:
    objective, batch = integration(2, nonzero=True), of_two_batches()
    objective.prepare(model)
    model.network.train()
    losses = objective.losses(model, batch)
    told = {"expression", "from_cell", "expression_nonzero", "from_cell_nonzero"}
    assert losses.keys() == told | {"similarity", "batches"}
    sum(losses.values()).backward()
    untrained = [name for name, one in model.network.named_parameters() if one.grad is None]
    assert untrained == ["flag_encoder.weight"]
    config = model.network.config
    assert (config.norm, config.n_batches, config.batch_vectors, config.zero_prob) == ("dsbn", 2, True, True)
    assert [int(norm.num_batches_tracked) for norm in model.network.dsbn.bns] == [1, 1]


def test_the_discriminator_learns_what_the_network_unlearns(model: Any) -> None:
    part, batch = DomainAdversarial(2, weight=3), of_two_batches()
    Joint(part).prepare(model)
    head = model.network.grad_reverse_discriminator

    def gradients(*, reverse: bool) -> tuple[torch.Tensor, torch.Tensor]:
        model.network.zero_grad()
        seen = model.run(batch.tokens)
        if reverse:
            part.read(model, batch, seen)["batches"].backward()
        else:
            (3 * torch.nn.functional.cross_entropy(head(seen.cell), batch.batches)).backward()
        return head.out_layer.weight.grad.clone(), model.network.value_encoder.linear2.weight.grad.clone()

    (of_head, of_network), (plain_of_head, plain_of_network) = gradients(reverse=True), gradients(reverse=False)
    torch.testing.assert_close(of_head, plain_of_head)
    torch.testing.assert_close(of_network, -plain_of_network)
    assert of_network.abs().max() > 0


def test_other_networks_are_made_alike_too() -> None:
    ids = [f"ENSG0000000{at}" for at in range(1000, 1040)]
    model = models.create("geneformer", ids, dim=8, n_layers=1, n_heads=2)
    tokens = np.array([2, 5, 6, 3, 2, 7, 8, 9, 3], np.int32)
    read = Tokens(np.array([0, 4, 9]), tokens, np.ones(9, np.float32), np.ones(44, bool))
    batch = Batch(read, np.arange(2), 0, torch.tensor([0, 1]), torch.tensor([0, 1]))
    objective = Joint(CellTypes(2), ElasticSimilarity(), DomainAdversarial(2))
    objective.prepare(model)
    losses = objective.losses(model, batch)
    assert losses.keys() == {"cell_types", "similarity", "batches"}
    sum(losses.values()).backward()
    assert model.network.grad_reverse_discriminator.out_layer.weight.grad.abs().max() > 0


def test_pairs_are_pushed_away_from_the_threshold(model: Any) -> None:
    batch = of_two_batches(2)
    for cosine, sign in ((0.9, 1), (0.3, -1)):
        cell = torch.tensor([[1.0, 0.0], [cosine, (1 - cosine**2) ** 0.5]], requires_grad=True)
        loss = ElasticSimilarity(threshold=0.6, weight=4).read(model, batch, models.Pass(cell, cell))["similarity"]
        torch.testing.assert_close(loss, torch.tensor(4 * (1 - (0.6**2 + (cosine - 0.6) ** 2) / 2)))
        loss.backward()
        after = (cell - 0.01 * cell.grad).detach()
        assert sign * (torch.cosine_similarity(after[0], after[1], dim=0) - cosine) > 0


@pytest.mark.parametrize("part", [DomainAdversarial(2), DomainNorms(2)], ids=lambda part: type(part).__name__)
def test_data_without_batches_are_an_error(model: Any, part: Any) -> None:
    objective = Joint(part)
    objective.prepare(model)
    with pytest.raises(InputError, match="pass batch_key="):
        objective.losses(model, scgpt_batch(random_genes(2, 0), [0, 1]))


@pytest.mark.slow
def test_real_cells_of_two_techniques(read_cells: Callable[[str], AnnData], tmp_path: Path) -> None:
    adata = read_cells("ding_pbmc_2tech_2000genes")
    model = models.create("scgpt", adata.var_names.tolist(), dim=32, n_layers=2, n_heads=4, max_length=60)
    match = resolve_genes(adata.var_names.tolist(), organism="human")
    columns = models.Columns(model.positions(match, None), match.is_gene, 0.0)
    batches = adata.obs["batch"].astype("category").cat.codes.to_numpy().astype(np.int64)
    cells = Cells(adata.X, model.tokenizer(columns), batches=batches)
    order = np.random.default_rng(0).permutation(adata.n_obs)
    history = fit(
        model,
        integration(2),
        Minibatches(cells, order[:240], batch_size=32),
        Minibatches(cells, order[400:500], batch_size=64, shuffle=False),
        settings=TrainSettings(max_epochs=3, lr=3e-3, optimizer_kwargs={"rank": 8}),
    )
    last = history.filter(like="validation_").dropna()
    assert (last["validation_expression"].diff().dropna() < 0).all()
    means = [norm.running_mean for norm in model.network.dsbn.bns]
    assert (means[0] - means[1]).abs().max() > 0.01
    model.write(tmp_path / "tuned")
    again = models.load(tmp_path / "tuned", batch=1)
    assert again.spec.weights_hash == model.spec.weights_hash
    tokens = cells.read(np.flatnonzero(batches == 1)[:5], 0).tokens
    vectors = again.encode(tokens, models.Wanted(), device=torch.device("cpu"), dtype=torch.float32).cell
    assert vectors is not None
    assert vectors.isfinite().all()
