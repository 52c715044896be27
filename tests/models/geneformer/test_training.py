"""Training of Geneformer: the losses, gradients and steps of the original, models from scratch, models written down."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models.geneformer.dictionaries import shipped
from scfm_scverse.models.geneformer.model import Geneformer
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.draws import Purpose
from scfm_scverse.training.lora import add_lora
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedRanks
from scfm_scverse.training.objectives.masked_ranks import SHARE
from scfm_scverse.training.optimizers import make_optimizer, prepare_network
from scfm_scverse.training.settings import TrainSettings

from .conftest import WHERE, Golden, near

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])
GENES = [f"ENSG0000000{at}" for at in range(1000, 1040)]
SMALL: dict[str, Any] = {"dim": 16, "n_layers": 2, "n_heads": 2, "max_length": 24}


def batch_of(stored: Mapping[str, NDArray], labels: NDArray | None = None) -> Batch:
    """The cells of stored arrays, padding left out."""
    mask = stored["attention_mask"].astype(bool)
    ids = stored["input_ids"][mask].astype(np.int32)
    indptr = np.concatenate([[0], mask.sum(1).cumsum()]).astype(np.int64)
    tokens = Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(64, bool))
    known = None if labels is None else torch.from_numpy(labels).long()
    return Batch(tokens, np.arange(len(mask)), draw=0, labels=known)


def masked_batch(model: Geneformer, stored: Mapping[str, NDArray]) -> Batch:
    """The same with draws that make the stored choice of genes, and hide them as stored."""
    mask = stored["attention_mask"].astype(bool)
    ids, read, told = (stored[name][mask] for name in ("input_ids", "mlm_input_ids", "mlm_labels"))
    how = np.select([read == 1, read != ids], [0.4, 0.85], 0.95)
    first = int(model.dictionaries.special.sum())
    other = (read - first + 0.5) / (len(model.spec.genes) - first)
    batch = batch_of(stored)
    chosen = np.where(told >= 0, how * SHARE, 0.5)
    vars(batch)["uniform"] = {Purpose.CHOSEN_RANK: chosen, Purpose.OTHER_GENE: other}.__getitem__
    return batch


def weights_of(model: Geneformer) -> dict[str, torch.Tensor]:
    """Some parameters, under the names of the file."""
    network, found = model.network, {}
    for at, layer in enumerate(network.encoder.layers):
        name = f"bert.encoder.layer.{at}"
        for part, one in zip(("query", "key", "value"), layer.in_proj.weight.chunk(3), strict=True):
            found[f"{name}.attention.self.{part}.weight"] = one
        found[f"{name}.output.dense.weight"] = layer.linear2.weight
    found["bert.embeddings.word_embeddings.weight"] = network.word.weight
    found["bert.embeddings.position_embeddings.weight"] = network.position.weight
    for theirs, ours in (("classifier", "classifier"), ("bert.pooler.dense", "pooler")):
        for kind, one in getattr(network.head, ours, torch.nn.Identity()).named_parameters():
            found[f"{theirs}.{kind}"] = one
    found["cls.predictions.bias"] = getattr(network.head, "bias", torch.zeros(0))
    return found


@VERSIONS
def test_genes_are_hidden_and_told_as_the_original_did(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}"), golden.arrays(f"forward_{version}")
    objective, batch = MaskedRanks(), masked_batch(model, stored)
    objective.prepare(model)
    hidden = objective.hide(batch.tokens, batch)
    mask = stored["attention_mask"].astype(bool)
    np.testing.assert_array_equal(hidden.ids, stored["mlm_input_ids"][mask])
    losses = Joint(objective).losses(model, batch)
    assert list(losses) == ["masked_ranks"]
    np.testing.assert_allclose(losses["masked_ranks"].item(), stored["mlm_loss"], rtol=0, atol=1e-5)
    losses["masked_ranks"].backward()
    near(model.network.word.weight.grad, stored["grad:bert.embeddings.word_embeddings.weight"])
    near(model.network.position.weight.grad, stored["grad:bert.embeddings.position_embeddings.weight"])
    near(model.network.head.bias.grad, stored["grad:cls.predictions.bias"])


@VERSIONS
def test_classes_are_scored_and_learnt_as_by_the_original(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}_cell_classifier"), golden.arrays(f"forward_{version}_cell_classifier")
    batch = batch_of(stored, stored["labels"])
    near(model.class_logits(model.run(batch.tokens)), stored["logits"])
    loss = Joint(CellTypes(3)).losses(model, batch)["cell_types"]
    np.testing.assert_allclose(loss.item(), stored["loss"], rtol=0, atol=1e-5)
    loss.backward()
    near(model.network.head.pooler.weight.grad, stored["grad:bert.pooler.dense.weight"])
    near(model.network.word.weight.grad, stored["grad:bert.embeddings.word_embeddings.weight"])


def check_steps(
    model: Geneformer, loss_of: Callable[[], torch.Tensor], stored: Mapping[str, NDArray], key: str, warmup: int
) -> None:
    """Train as the original did, with our optimizer: losses, norms of gradients, weights after the last step."""
    expected = {name.removeprefix(f"{key}_"): one for name, one in stored.items() if name.startswith(key)}
    optimizer = make_optimizer(model.network, TrainSettings(optimizer="adamw", lr=1e-3, weight_decay=0.001))
    n = len(expected["loss"])
    # A straight line up and down, where ours falls along a cosine.
    rates = [1e-3 * (at / warmup if at < warmup else (n - at) / (n - warmup)) for at in range(n)]
    for at, rate in enumerate(rates):
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad()
        loss = loss_of()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
        np.testing.assert_allclose(loss.item(), expected["loss"][at], rtol=1e-3)
        np.testing.assert_allclose(norm.item(), expected["grad_norm"][at], rtol=1e-3)
    np.testing.assert_allclose(rates, expected.get("lr", rates), rtol=1e-3)
    found = weights_of(model)
    after = {name.removeprefix("after:"): one for name, one in expected.items() if name.startswith("after:")}
    for name, one in after.items():
        np.testing.assert_allclose(found[name].detach(), one, rtol=0, atol=1e-4, err_msg=name)
    assert len(after) >= 3


def test_fine_tuning_takes_the_steps_of_the_original(golden: Golden) -> None:
    model, stored = golden.load("model_v2_cell_classifier"), golden.arrays("forward_v2_cell_classifier")
    for layer in model.network.encoder.layers[:2]:
        layer.requires_grad_(requires_grad=False)
    objective, batch = Joint(CellTypes(3)), batch_of(stored, stored["labels"])
    steps = golden.arrays("training_steps")
    check_steps(model, lambda: objective.losses(model, batch)["cell_types"], steps, "cls", 2)


@VERSIONS
def test_pretraining_takes_the_steps_of_the_original(golden: Golden, version: str) -> None:
    model, stored = golden.load(f"model_{version}"), golden.arrays(f"forward_{version}")
    objective, batch = Joint(MaskedRanks()), masked_batch(model, stored)
    objective.prepare(model)
    steps = golden.arrays("training_steps")
    check_steps(model, lambda: objective.losses(model, batch)["masked_ranks"], steps, f"mlm_{version}", 3)


def tokens_of(model: Geneformer, n: int = 5) -> Tokens:
    """Random cells, special tokens where the version has them."""
    rng = np.random.default_rng(0)
    first = int(model.dictionaries.special.sum())
    cells = [rng.permutation(np.arange(first, len(model.spec.genes)))[: 3 + at] for at in range(n)]
    if model.dictionaries.version == "V2":
        cells = [np.array([2, *cell, 3]) for cell in cells]
    indptr = np.cumsum([0, *map(len, cells)])
    ids = np.concatenate(cells).astype(np.int32)
    return Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(len(model.spec.genes), bool))


def test_first_weights_depend_on_the_seed_alone() -> None:
    one, same, other = (models.create("geneformer", GENES, seed=seed, **SMALL) for seed in (1, 1, 2))
    assert one.spec.id == same.spec.id != other.spec.id
    spread = one.network.word.weight[1:].std()
    torch.testing.assert_close(spread, torch.tensor(0.02), rtol=0.1, atol=0)
    assert not one.network.word.weight[0].any()
    assert not one.network.encoder.layers[0].in_proj.bias.any()
    assert one.spec.licence == "that of whoever trained it"


def test_medians_are_given_or_published_or_the_usual_one() -> None:
    known = shipped("V2")
    names = [*known.genes[4:7].tolist(), "ENSG09"]
    model = models.create("geneformer", names, medians={names[0]: 7.5}, **SMALL)
    expected = [7.5, *known.medians[5:7], np.nanmedian(known.medians)]
    assert model.dictionaries.medians[4:].tolist() == expected
    with pytest.raises(InputError, match="expected 'V1' or 'V2'"):
        models.create("geneformer", names, version="V3")


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_written_model_is_the_same_when_it_is_loaded(tmp_path: Path, version: str, classes: int) -> None:
    model = models.create("geneformer", GENES, version=version, medians={GENES[3]: 0.1}, dropout=0.1, **SMALL)
    if classes:
        model.add_classes(classes, seed=3)
        model.renew()
    model.write(tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.spec.id == model.spec.id
    assert loaded.spec.licence == model.spec.licence
    assert loaded.classes == model.classes
    assert loaded.network.sizes == model.network.sizes
    np.testing.assert_array_equal(loaded.dictionaries.medians, model.dictionaries.medians)
    tokens = tokens_of(model)
    for want in (models.Wanted(), models.Wanted(pooling="mean")):
        ours, theirs = (one.encode(tokens, want, **WHERE).cell for one in (model, loaded))
        assert torch.equal(ours, theirs)
    assert not loaded.report().ignored


@pytest.mark.parametrize("name", ["model_v1", "model_v2", "model_v2_cell_classifier", "model_v2_gene_classifier"])
def test_a_published_model_is_the_same_when_it_was_written(golden: Golden, tmp_path: Path, name: str) -> None:
    model = golden.load(name)
    model.write(tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.spec.id == model.spec.id
    assert dict(loaded.dictionaries.mapping) == dict(model.dictionaries.mapping)


def test_own_dictionaries_of_the_published_length_are_not_mistaken_for_the_published(tmp_path: Path) -> None:
    genes = shipped("V2").genes[4:].tolist()
    model = models.create("geneformer", genes, medians={genes[0]: 9.0}, dim=2, n_layers=1, n_heads=1, max_length=8)
    model.write(tmp_path / "model")
    assert models.load(tmp_path / "model").dictionaries.medians[4] == 9.0


def test_a_copy_is_independent() -> None:
    model = models.create("geneformer", GENES, **SMALL)
    before = model.encode(tokens_of(model), models.Wanted(), **WHERE).cell
    model.encode(tokens_of(model), models.Wanted(), device=torch.device("cpu"), dtype=torch.bfloat16)
    twin = copy.deepcopy(model)
    twin.add_classes(2, seed=0)
    with torch.no_grad():
        for one in twin.network.parameters():
            one.add_(1)
    twin.renew()
    assert torch.equal(model.encode(tokens_of(model), models.Wanted(), **WHERE).cell, before)
    assert not torch.equal(twin.encode(tokens_of(model), models.Wanted(), **WHERE).cell, before)
    assert twin.spec.id != model.spec.id


def test_a_new_head_of_classes_stands_in_the_place_of_the_old_one() -> None:
    model = models.create("geneformer", GENES, dropout=0.5, **SMALL)
    tokens, objective = tokens_of(model), MaskedRanks()
    with pytest.raises(InputError, match="expected one for classes of cells"):
        model.class_logits(model.run(tokens))
    model.add_classes(4, seed=0)
    first = model.class_logits(model.run(tokens))
    assert first.shape == (5, 4)
    assert torch.equal(first, model.class_logits(model.run(tokens)))  # nothing is dropped before training begins
    model.add_classes(4, seed=1)
    assert not torch.equal(first, model.class_logits(model.run(tokens)))
    with pytest.raises(InputError, match="with the head CellClassifier; expected the head of masked genes"):
        objective.prepare(model)
    with pytest.raises(InputError, match="Found scBERT; expected a model whose network is a Network of geneformer"):
        objective.prepare(models.create("scbert", ["CD3E"], dim=4, n_layers=1, n_heads=1, dim_head=3))


def test_a_run_does_not_depend_on_the_neighbours() -> None:
    model = models.create("geneformer", GENES, **SMALL)
    tokens = tokens_of(model)
    together = model.run(tokens)
    alone = [model.run(tokens.take(np.array([at]))) for at in range(len(tokens))]
    torch.testing.assert_close(together.rows, torch.cat([one.rows for one in alone]), rtol=0, atol=2e-5)
    torch.testing.assert_close(together.cell, torch.cat([one.cell for one in alone]), rtol=0, atol=2e-5)


@pytest.mark.parametrize("masked", [True, False])
def test_the_word_table_has_all_rows_in_its_gradient_where_the_head_reads_it(masked: bool) -> None:
    genes = [f"ENSG{at:011}" for at in range(1100)]
    model = models.create("geneformer", genes, dim=8, n_layers=1, n_heads=2, max_length=24)
    objective = MaskedRanks() if masked else CellTypes(2)
    objective.prepare(model)
    settings = TrainSettings(optimizer="galore", lr=0.01, optimizer_kwargs={"rank": 2})
    prepare_network(model.network, settings)
    word, tokens = model.network.word, tokens_of(model)
    assert word.sparse != masked
    optimizer, before = make_optimizer(model.network, settings), word.weight.detach().clone()
    rowwise = [id(one) for group in optimizer.param_groups if group.get("rowwise") for one in group["params"]]
    assert (id(word.weight) in rowwise) != masked
    losses = Joint(objective).losses(model, Batch(tokens, np.arange(5), 1, torch.arange(5) % 2))
    sum(losses.values()).backward()
    optimizer.step()
    moved = (word.weight.detach() != before).any(dim=1)
    assert word.weight.isfinite().all()
    seen = torch.zeros(len(moved), dtype=torch.bool)
    seen[torch.from_numpy(tokens.ids).long()] = True
    assert moved.all() if masked else torch.equal(moved, seen)


@pytest.mark.parametrize("classes", [False, True])
def test_thin_matrices_beside_every_layer_learn(classes: bool) -> None:
    model = models.create("geneformer", GENES, **SMALL)
    tokens = tokens_of(model)
    batch = Batch(tokens, np.arange(len(tokens)), 1, torch.arange(len(tokens)) % 2)
    objective = CellTypes(2) if classes else MaskedRanks()
    objective.prepare(model)
    assert add_lora(model.network, rank=2)
    Joint(objective).losses(model, batch)["cell_types" if classes else "masked_ranks"].backward()
    thin = {name: one for name, one in model.network.named_parameters() if name.endswith(".up")}
    assert not [name for name, one in thin.items() if one.grad is None or not one.grad.any()]
    assert all(one.grad is None for name, one in model.network.named_parameters() if not one.requires_grad)
