"""Losses and gradients of read-depth-aware training, and the authors' example of fine-tuning."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

import scfm_scverse as scfm
from scfm_scverse._errors import InputError
from scfm_scverse.models.scfoundation.files import name_in_file
from scfm_scverse.models.scfoundation.heads import trained_for_classes
from scfm_scverse.models.scfoundation.model import ScFoundation
from scfm_scverse.models.scfoundation.network import ScFoundationNetwork
from scfm_scverse.nn import Spans
from scfm_scverse.tokens import Tokens

from .conftest import Golden

CLOSE = {"rtol": 0, "atol": 2e-5}
GRADIENTS = {"rtol": 1e-4, "atol": 1e-6}


def without_dropout(golden: Golden, mode: str) -> ScFoundationNetwork:
    network = deepcopy(golden.model(key="gene", mode=mode).network)
    drop_nothing(network)
    return network.train()


def drop_nothing(network: ScFoundationNetwork) -> None:
    for module in network.modules():
        for name in ("dropout", "attention_dropout"):
            if hasattr(module, name):
                setattr(module, name, 0.0)


def predictions(network: ScFoundationNetwork, stored: dict[str, np.ndarray], cells: list[int]) -> Tensor:
    """Expression that the network predicts from what of these cells is not masked, [b, n_genes]."""
    tokens, mask = torch.from_numpy(stored["rda_tokens"][cells]), torch.from_numpy(stored["rda_mask"][cells])
    hidden = torch.cat([mask, torch.zeros(len(cells), 2, dtype=torch.bool)], dim=1)
    seen = (tokens > 0) & ~hidden
    positions, spans = seen.nonzero()[:, 1], Spans(tuple(seen.sum(1).tolist()))
    encoded = network(tokens[seen], positions, spans)
    vectors = network.decode(encoded, positions, spans, masked=hidden.nonzero(as_tuple=True))
    assert network.decoder is not None
    return network.decoder.expression(vectors)[:, : mask.shape[1]]


def test_read_depth_aware_training_of_one_batch_is_the_authors(golden: Golden) -> None:
    stored = golden.arrays("rda")
    network = without_dropout(golden, "original")
    predicted = predictions(network, stored, list(range(len(stored["rda_mask"]))))
    np.testing.assert_allclose(predicted.detach(), stored["rda_pred_one_batch"], **CLOSE)
    mask = torch.from_numpy(stored["rda_mask"])
    loss = mse_loss(predicted[mask], torch.from_numpy(stored["rda_target"])[mask])
    np.testing.assert_allclose(loss.item(), stored["rda_loss_one_batch"], rtol=1e-5)
    loss.backward()
    found = {name_in_file(name): one.grad for name, one in network.named_parameters()}
    for name, expected in zip(stored["rda_grad_norms_names"], stored["rda_grad_norms_one_batch"], strict=True):
        norm = 0.0 if found[name] is None else float(found[name].norm())
        np.testing.assert_allclose(norm, max(expected, 0), err_msg=name, **GRADIENTS)


def test_masked_cells_in_one_minibatch_are_those_alone(golden: Golden) -> None:
    stored = golden.arrays("rda")
    network = without_dropout(golden, "default")
    together = predictions(network, stored, list(range(len(stored["rda_mask"]))))
    np.testing.assert_allclose(together.detach(), stored["rda_pred_batch_of_one"], **CLOSE)


def fine_tuned(golden: Golden, mode: str) -> ScFoundation:
    """The model of the example, with the stored head, without dropout."""
    model, stored = deepcopy(golden.model(key="gene", mode=mode)), golden.arrays("finetune")
    model.add_classes(len(stored["ft_param::fc1.2.bias"]), seed=0)
    prefix = "ft_param::"
    head = {name.removeprefix(prefix): torch.from_numpy(one) for name, one in stored.items() if prefix in name}
    model.network.classifier.load_state_dict(head, strict=False)
    drop_nothing(model.network)
    return model


def genes_of(golden: Golden) -> Tokens:
    """What the example gives its classifier, as tokens."""
    stored = golden.arrays("finetune")["ft_input"]
    block = sp.csr_matrix(stored)
    return Tokens(block.indptr.astype(np.int64), block.indices, block.data, np.ones(stored.shape[1], bool))


@pytest.mark.parametrize(("mode", "how"), [("default", "batch_of_one"), ("original", "batch")])
def test_classifier_in_evaluation_is_the_authors(golden: Golden, mode: str, how: str) -> None:
    stored, model = golden.arrays("finetune"), fine_tuned(golden, mode)
    norm = model.network.classifier.norm
    norm.running_mean.copy_(torch.from_numpy(stored["ft_bn_running_mean"]))
    norm.running_var.copy_(torch.from_numpy(stored["ft_bn_running_var"]))
    with torch.no_grad():
        found = model.class_logits(model.run(genes_of(golden)))
    np.testing.assert_allclose(found, stored[f"ft_logits_eval_{how}"], **CLOSE)
    other = stored[f"ft_logits_eval_batch{'' if mode == 'default' else '_of_one'}"]
    assert not np.allclose(found, other, rtol=0, atol=1e-3)


def test_classifier_in_training_is_the_authors(golden: Golden) -> None:
    stored, model = golden.arrays("finetune"), fine_tuned(golden, "original")
    beginnings = trained_for_classes(model.network.transformer)
    bare = {
        name: name_in_file(name).removeprefix("classifier.")
        for name, parameter in model.network.named_parameters()
        if name.startswith(beginnings)
    }
    assert set(bare.values()) == set(stored["ft_trainable"].tolist())
    model.network.train()
    logits = model.class_logits(model.run(genes_of(golden)))
    np.testing.assert_allclose(logits.detach(), stored["ft_logits_train_nodropout"], **CLOSE)
    loss = cross_entropy(logits, torch.from_numpy(stored["ft_labels"]))
    np.testing.assert_allclose(loss.item(), stored["ft_loss_train_nodropout"], rtol=1e-5)
    loss.backward()
    gradients = {bare[name]: one.grad for name, one in model.network.named_parameters() if name in bare}
    named = {name.removeprefix("ft_grad::"): one for name, one in stored.items() if "ft_grad::" in name}
    assert set(named) <= set(gradients)
    for name, expected in named.items():
        np.testing.assert_allclose(gradients[name], expected, err_msg=name, **GRADIENTS)


def test_cell_that_is_alone_in_a_minibatch_can_be_trained_on(toy: Golden) -> None:
    model = fine_tuned(toy, "default")
    one, few = genes_of(toy).take(np.array([0])), genes_of(toy).take(np.arange(3))
    expected = model.class_logits(model.run(one))
    model.network.train()
    alone = model.class_logits(model.run(one))
    torch.testing.assert_close(alone, expected)
    assert not torch.allclose(model.class_logits(model.run(few))[:1], expected)


@pytest.mark.parametrize("key", ["gene", "cell"])
@pytest.mark.parametrize("n_classes", [0, 3])
def test_model_is_read_back_as_it_was_written(toy: Golden, tmp_path: Path, key: str, n_classes: int) -> None:
    model = deepcopy(toy.model(key=key))
    if n_classes:
        model.add_classes(n_classes, seed=1)
    for parameter in model.network.parameters():
        parameter.data.add_(0.01)
    model.renew()
    assert model.spec.id != toy.model(key=key).spec.id
    model.write(tmp_path / "model")
    back = scfm.models.load(tmp_path / "model")
    assert back.spec.id == model.spec.id
    assert back.spec.genes.tolist() == model.spec.genes.tolist()
    assert back.spec.licence == model.spec.licence
    assert not back.report().ignored
    if n_classes:
        np.testing.assert_array_equal(*(one.class_logits(one.run(genes_of(toy))).detach() for one in (model, back)))


def test_model_that_is_made_anew_is_a_model(toy: Golden, tmp_path: Path) -> None:
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "decoder_dim": 12, "decoder_layers": 1, "decoder_heads": 2}
    genes = toy.inputs["genes"].tolist()
    first, again, other = (
        scfm.models.create("scfoundation", genes, seed=seed, decoder_dim_head=8, n_bins=7, dropout=0.2, **sizes)
        for seed in (0, 0, 1)
    )
    assert first.spec.id == again.spec.id != other.spec.id
    assert "non" not in first.spec.licence
    first.write(tmp_path / "new")
    back = scfm.models.load(tmp_path / "new")
    assert back.spec.id == first.spec.id
    assert back.network.sizes == first.network.sizes
    tokens = toy.tokens(first, toy.counts())
    told = [toy.encode(model, tokens, "cell", "expression") for model in (first, back)]
    np.testing.assert_array_equal(told[0].cell, told[1].cell)
    np.testing.assert_array_equal(told[0].expression.values, told[1].expression.values)


def test_list_of_the_released_length_is_not_taken_for_the_released_one(shared_genes: list[str], tmp_path: Path) -> None:
    sizes = {"dim": 2, "n_layers": 1, "n_heads": 1, "decoder_dim": 2, "decoder_layers": 1, "decoder_heads": 1}
    model = scfm.models.create("scfoundation", shared_genes[::-1], decoder_dim_head=4, n_bins=2, **sizes)
    model.write(tmp_path / "reversed")
    assert scfm.models.load(tmp_path / "reversed").spec.id == model.spec.id


def test_deep_copy_is_independent(toy: Golden) -> None:
    model = toy.model(key="gene")
    tokens = toy.tokens(model, toy.counts()[:3])
    before = toy.encode(model, tokens, "cell", "expression")
    copied = deepcopy(model)
    for parameter in copied.network.parameters():
        parameter.data.mul_(1.1)
    changed, after = (toy.encode(one, tokens, "cell", "expression") for one in (copied, model))
    np.testing.assert_array_equal(after.cell, before.cell)
    np.testing.assert_array_equal(after.expression.values, before.expression.values)
    assert not np.allclose(changed.cell, before.cell)
    assert not np.allclose(changed.expression.values, before.expression.values)
    named = dict(copied.network.named_parameters())
    copied.predict_masked(tokens, np.array([0]), np.array([5])).sum().backward()
    assert named["embedding.token_emb.emb_mask.weight"].grad is not None
    assert all(parameter.grad is None for parameter in model.network.parameters())


def test_masked_genes_need_a_decoder(toy: Golden) -> None:
    model = toy.model(key="cell")
    with pytest.raises(InputError, match="key='gene'"):
        model.predict_masked(toy.tokens(model, toy.counts()), np.array([0]), np.array([0]))
