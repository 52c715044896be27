"""Training of scBERT: losses, gradients, masks, learning rates, predictions of the original; models from scratch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.models.panel import shipped_panel
from scfm_scverse.models.scbert.files import file_name
from scfm_scverse.models.scbert.model import ScBERT
from scfm_scverse.models.scbert.network import MASK, Network, freeze
from scfm_scverse.models.scbert.pretraining import learning_rate, masked_accuracy, masked_count
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.draws import Purpose
from scfm_scverse.training.lora import add_lora
from scfm_scverse.training.objectives import CellTypes, Joint, MaskedLevels

from .conftest import WHERE, Golden

GENES = [f"GENE{at}" for at in range(30)]
SMALL: dict[str, Any] = {"dim": 8, "n_layers": 2, "n_heads": 2, "dim_head": 4}
GRADIENT = {"rtol": 1e-4, "atol": 1e-6}


def one_by_one(network: Network, tokens: torch.Tensor) -> torch.Tensor:
    return torch.cat([network(cell[None]) for cell in tokens])


def gradients_are(network: Network, names: np.ndarray, norms: np.ndarray, stored: dict[str, np.ndarray]) -> None:
    every = (*network.named_parameters(), *network.named_buffers())
    own = {file_name(name): one for name, one in every}
    for name, norm in zip(names.tolist(), norms, strict=True):
        gradient = own[name].grad
        assert (gradient is None) == (norm == -1), name
        if gradient is not None:
            assert float(gradient.norm()) == pytest.approx(norm, rel=1e-4), name
    for name, expected in stored.items():
        gradient = own[name].grad
        assert gradient is not None
        np.testing.assert_allclose(gradient.view(expected.shape), expected, **GRADIENT, err_msg=name)


def batch_of(tokens: Tokens, labels: np.ndarray | None = None) -> Batch:
    return Batch(tokens, np.arange(len(tokens)), 0, None if labels is None else torch.from_numpy(labels).long())


def masked_batch(golden: Golden, model: ScBERT) -> Batch:
    """The cells of the stored masks, with draws that choose and hide as stored."""
    stored = golden.arrays("mlm")
    batch = batch_of(golden.tokens(model, stored["mlm_rows"]))
    read, told = (stored[name][batch.cell_of_token, batch.tokens.ids] for name in ("mlm_input", "mlm_labels"))
    drawn = {
        Purpose.CHOSEN_LEVEL: np.where(told != MASK, 0.1, 0.9),
        Purpose.HIDDEN_LEVEL: np.where(read == MASK, 0.1, 0.95),
    }
    vars(batch)["uniform"] = drawn.__getitem__
    return batch


def levels_of(tokens: Tokens) -> np.ndarray:
    """A table of all positions, [n, v]."""
    levels = np.zeros((len(tokens), len(tokens.measured)))
    levels[np.repeat(np.arange(len(tokens)), tokens.lengths), tokens.ids] = tokens.values
    return levels


@pytest.mark.parametrize("mode", ["default", "original"])
def test_masked_loss_and_its_gradients_are_the_originals(golden: Golden, mode: str) -> None:
    stored, model, objective = golden.arrays("mlm"), golden.load(mode=mode), MaskedLevels()
    objective.prepare(model)
    batch = masked_batch(golden, model)
    tokens = objective.hide(batch.tokens, batch)
    np.testing.assert_array_equal(levels_of(tokens), stored["mlm_input"])
    logits = model.network.to_out(model.run(tokens).rows)
    together = "one_batch" if mode == "original" else "batch_of_one"
    np.testing.assert_allclose(logits.detach(), stored[f"mlm_logits_{together}"], rtol=0, atol=2e-5)
    loss = Joint(objective).losses(model, batch)["masked_levels"]
    assert float(loss.detach()) == pytest.approx(float(stored[f"mlm_loss_{together}"]), rel=1e-5)
    if mode == "original":
        return
    labels = torch.from_numpy(stored["mlm_labels"]).long()
    np.testing.assert_allclose(masked_accuracy(logits, labels), stored["mlm_accuracy_per_cell"], rtol=1e-6)
    loss.backward()
    few = {name.partition("::")[2]: grad for name, grad in stored.items() if name.startswith("mlm_grad::")}
    assert len(few) == 8
    gradients_are(model.network, stored["mlm_grad_names"], stored["mlm_grad_norms"], few)


def test_stored_masks_follow_the_rule(golden: Golden) -> None:
    stored, tokens = golden.arrays("mlm"), golden.arrays("inputs")["tokens"]
    tokens = tokens[stored["mlm_rows"]]
    chosen = stored["mlm_labels"] != MASK
    np.testing.assert_array_equal(chosen.sum(1), masked_count((tokens > 0).sum(1), tokens.shape[1]))
    np.testing.assert_array_equal(stored["mlm_labels"][chosen], tokens[chosen])


def test_number_of_masked_tokens_is_the_originals(golden: Golden) -> None:
    expected = golden.arrays("mlm")["mlm_masked_count_by_nonzero_len401"]
    np.testing.assert_array_equal(masked_count(np.arange(len(expected)), 401), expected)


def test_learning_rate_is_the_originals(golden: Golden) -> None:
    expected = golden.arrays("mlm")["lr_epoch_1_to_100"]
    found = [learning_rate(epoch) for epoch in range(1, 101)]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_classes_are_the_originals(golden: Golden) -> None:
    stored, model = golden.arrays("finetune"), golden.load("finetune_best.pth")
    assert model.classes == tuple(stored["label_dict"].tolist())
    tokens = golden.tokens(model)
    probabilities = model.class_probabilities(tokens, **WHERE)
    np.testing.assert_allclose(probabilities, stored["probabilities"], rtol=0, atol=5e-5)
    for threshold in (0.5, 0.9):
        found = model.predict_classes(tokens, unassigned_below=threshold, **WHERE)
        np.testing.assert_array_equal(found, stored[f"predicted_threshold_{threshold}"])
    np.testing.assert_array_equal(model.predict_classes(tokens, **WHERE), stored["predicted_threshold_none"])


@pytest.mark.parametrize("mode", ["default", "original"])
def test_scores_of_classes_are_the_originals(golden: Golden, mode: str) -> None:
    stored, forward = golden.arrays("finetune"), golden.arrays("forward")
    model, tokens = golden.load("finetune_best.pth", mode=mode), torch.from_numpy(golden.arrays("inputs")["tokens"])
    with torch.inference_mode():
        one = one_by_one(model.network, tokens.long())
        four = model.network(tokens.long()[forward["batch_rows"]])
    np.testing.assert_allclose(one, stored["logits_batch_of_one"], rtol=0, atol=5e-5)
    expected = stored["logits_batch_of_four"] if mode == "original" else one[forward["batch_rows"]]
    np.testing.assert_allclose(four, expected, rtol=0, atol=5e-5)


def test_fine_tuning_has_the_trainable_part_loss_and_gradients_of_the_original(golden: Golden) -> None:
    stored, model = golden.arrays("finetune"), golden.load("finetune_best.pth")
    network = model.network
    freeze(network)
    trainable = {file_name(name) for name, one in network.named_parameters() if one.requires_grad}
    assert trainable == set(stored["trainable"].tolist())
    batch = batch_of(golden.tokens(model, stored["train_rows"]), stored["train_labels"])
    loss = Joint(CellTypes(len(model.classes))).losses(model, batch)["cell_types"]
    assert float(loss.detach()) == pytest.approx(float(stored["loss_batch_of_one"]), rel=1e-4)
    loss.backward()
    few = {name.partition("::")[2]: grad for name, grad in stored.items() if name.startswith("grad::")}
    assert len(few) == 11
    gradients_are(network, stored["trainable"], stored["grad_norms"], few)


def test_a_head_that_is_not_there_is_an_error(golden: Golden) -> None:
    pretrained, tuned = golden.load(), golden.load("finetune_best.pth")
    with pytest.raises(InputError, match="expected a pretrained file"):
        tuned.logits(golden.tokens(tuned, [0]), **WHERE)
    with pytest.raises(InputError, match="expected a file that fine-tuning wrote"):
        pretrained.predict_classes(golden.tokens(pretrained, [0]), **WHERE)


def tokens_of(n: int = 4) -> Tokens:
    """Random cells."""
    rng = np.random.default_rng(0)
    cells = [np.sort(rng.permutation(len(GENES))[: 5 + at]) for at in range(n)]
    ids = np.concatenate(cells).astype(np.int32)
    values = rng.integers(0, 6, len(ids)).astype(np.float32)
    return Tokens(np.cumsum([0, *map(len, cells)]), ids, values, np.ones(len(GENES) + 1, bool))


def test_first_weights_depend_on_the_seed_alone_and_vectors_of_genes_may_be_given() -> None:
    one, same, other = (models.create("scbert", GENES, seed=seed, **SMALL) for seed in (1, 1, 2))
    assert one.spec.id == same.spec.id != other.spec.id
    assert not one.gene_vectors()[-1].any()
    given = np.random.default_rng(0).normal(size=(len(GENES), 8))
    model = models.create("scbert", GENES, vectors=given, **SMALL)
    np.testing.assert_allclose(model.gene_vectors()[:-1], given, rtol=1e-6)
    assert "gene_emb" not in dict(model.network.named_parameters())
    assert model.spec.licence == "that of whoever trained it"
    with pytest.raises(InputError, match=r"vectors of shape \(30, 7\); expected one of 8 numbers"):
        models.create("scbert", GENES, vectors=given[:, :7], **SMALL)
    with pytest.raises(InputError, match="dim_head=2; expected 3 or more"):
        models.create("scbert", GENES, **SMALL | {"dim_head": 2})


@pytest.mark.parametrize("classes", [(), ("B cell", "T cell", "else")])
def test_a_written_model_is_the_same_when_it_is_loaded(tmp_path: Path, classes: tuple[str, ...]) -> None:
    model = models.create("scbert", GENES, **SMALL)
    if classes:
        model.add_classes(len(classes), seed=3)
        assert model.classes == ("0", "1", "2")
        model.classes = classes
        model.renew()
    model.write(tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.spec.id == model.spec.id
    assert loaded.spec.licence == model.spec.licence
    assert loaded.spec.version == ("fine-tuned" if classes else "pretrained")
    assert loaded.spec.genes.tolist() == [*GENES, "<cell>"]
    assert loaded.classes == classes
    ours, theirs = (one.encode(tokens_of(), models.Wanted(), **WHERE).cell for one in (model, loaded))
    assert torch.equal(ours, theirs)
    if classes:
        ours, theirs = (one.class_probabilities(tokens_of(), **WHERE) for one in (model, loaded))
        assert torch.equal(ours, theirs)
    assert not loaded.report().ignored


@pytest.mark.parametrize("name", ["panglao_pretrain.pth", "finetune_best.pth"])
def test_a_published_model_is_the_same_when_it_was_written(golden: Golden, tmp_path: Path, name: str) -> None:
    model = golden.load(name)
    model.write(tmp_path / "model")
    loaded = models.load(tmp_path / "model")
    assert loaded.spec.id == model.spec.id
    assert loaded.classes == model.classes
    assert loaded.spec.licence == "GPL-3.0, code and weights"


def test_own_genes_of_the_published_number_are_not_mistaken_for_the_published(tmp_path: Path) -> None:
    genes = shipped_panel("scfm_scverse.models.scbert").tolist()[::-1]
    model = models.create("scbert", genes, dim=2, n_layers=1, n_heads=1, dim_head=3)
    model.write(tmp_path / "model")
    assert models.load(tmp_path / "model").spec.genes[:-1].tolist() == genes


def test_training_sees_the_weights_as_they_are_and_not_what_was_kept_of_an_empty_cell() -> None:
    model, tokens = models.create("scbert", GENES, **SMALL), tokens_of()
    before = model.encode(tokens, models.Wanted(), **WHERE).cell
    seen = model.run(tokens)
    torch.testing.assert_close(seen.cell.detach(), before, rtol=0, atol=2e-5)
    assert seen.rows.shape == (4, 31, 8)
    seen.rows.square().sum().backward()
    first = model.network.performer.stack[0]
    for one in (model.network.token_emb.weight, first.attention.to_k.weight, first.norm1.weight):
        assert one.grad is not None
        assert one.grad.any()
    with torch.no_grad():
        first.attention.to_k.weight.mul_(2)
        model.network.token_emb.weight.add_(1)
    changed = model.encode(tokens, models.Wanted(), **WHERE).cell
    assert not torch.allclose(changed, before, atol=1e-3)
    torch.testing.assert_close(model.run(tokens).cell.detach(), changed, rtol=0, atol=2e-5)


def test_a_copy_is_independent() -> None:
    model = models.create("scbert", GENES, **SMALL)
    before = model.encode(tokens_of(), models.Wanted(), **WHERE).cell
    twin = copy.deepcopy(model)
    assert torch.equal(twin.encode(tokens_of(), models.Wanted(), **WHERE).cell, before)
    with torch.no_grad():
        for one in twin.network.parameters():
            one.mul_(1.5)
    twin.renew()
    assert torch.equal(model.encode(tokens_of(), models.Wanted(), **WHERE).cell, before)
    assert not torch.equal(twin.encode(tokens_of(), models.Wanted(), **WHERE).cell, before)
    assert twin.spec.id != model.spec.id


def test_a_new_head_of_classes_stands_in_the_place_of_the_old_one() -> None:
    model, tokens = models.create("scbert", GENES, **SMALL), tokens_of()
    with pytest.raises(InputError, match="expected a file that fine-tuning wrote"):
        model.class_logits(model.run(tokens))
    model.add_classes(3, seed=0)
    logits = model.class_logits(model.run(tokens))
    assert logits.shape == (4, 3)
    alone = [model.class_logits(model.run(tokens.take(np.array([at])))) for at in range(4)]
    torch.testing.assert_close(logits, torch.cat(alone), rtol=0, atol=2e-5)
    model.add_classes(3, seed=1)
    assert not torch.equal(model.class_logits(model.run(tokens)), logits)


@pytest.mark.parametrize("classes", [False, True])
def test_thin_matrices_beside_every_layer_learn(classes: bool) -> None:
    model = models.create("scbert", GENES, **SMALL)
    tokens = tokens_of()
    batch = Batch(tokens, np.arange(len(tokens)), 1, torch.arange(len(tokens)) % 2)
    objective = CellTypes(2) if classes else MaskedLevels()
    objective.prepare(model)
    assert add_lora(model.network, rank=2)
    Joint(objective).losses(model, batch)["cell_types" if classes else "masked_levels"].backward()
    thin = {name: one for name, one in model.network.named_parameters() if name.endswith(".up")}
    assert not [name for name, one in thin.items() if one.grad is None or not one.grad.any()]
    assert all(one.grad is None for name, one in model.network.named_parameters() if not one.requires_grad)
