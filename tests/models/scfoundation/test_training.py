"""Losses and gradients of read-depth-aware training, and the authors' example of fine-tuning."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, mse_loss

from scfm_scverse.models.scfoundation.files import name_in_file
from scfm_scverse.models.scfoundation.heads import CellClassifier
from scfm_scverse.models.scfoundation.network import ScFoundationNetwork
from scfm_scverse.nn import Spans

from .conftest import Golden

CLOSE = {"rtol": 0, "atol": 2e-5}
GRADIENTS = {"rtol": 1e-4, "atol": 1e-6}


def without_dropout(golden: Golden, mode: str) -> ScFoundationNetwork:
    network = deepcopy(golden.model(key="gene", mode=mode).network)
    for module in network.modules():
        if hasattr(module, "dropout"):
            module.dropout = 0.0
    return network.train()


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


@pytest.mark.parametrize(("mode", "how"), [("default", "batch_of_one"), ("original", "one_batch")])
def test_read_depth_aware_training_is_the_authors(golden: Golden, mode: str, how: str) -> None:
    stored = golden.arrays("rda")
    n_cells = len(stored["rda_mask"])
    network = without_dropout(golden, mode)
    groups = [[cell] for cell in range(n_cells)] if mode == "default" else [list(range(n_cells))]
    predicted = torch.cat([predictions(network, stored, cells) for cells in groups])
    np.testing.assert_allclose(predicted.detach(), stored[f"rda_pred_{how}"], **CLOSE)
    mask = torch.from_numpy(stored["rda_mask"])
    loss = mse_loss(predicted[mask], torch.from_numpy(stored["rda_target"])[mask])
    np.testing.assert_allclose(loss.item(), stored[f"rda_loss_{how}"], rtol=1e-5)
    loss.backward()
    check_gradients(network, stored, how)


def check_gradients(network: ScFoundationNetwork, stored: dict[str, np.ndarray], how: str) -> None:
    found = {name_in_file(name): one.grad for name, one in network.named_parameters()}
    if how == "batch_of_one":
        whole = [name for name in stored if name.startswith("rda_grad1::")]
        assert len(whole) > 10
        for name in whole:
            gradient = found[name.removeprefix("rda_grad1::")]
            np.testing.assert_allclose(torch.zeros(()) if gradient is None else gradient, stored[name], **GRADIENTS)
    names = stored["rda_grad_norms_names"].tolist()
    assert set(names) == set(found)
    for name, expected in zip(names, stored[f"rda_grad_norms_{how}"], strict=True):
        gradient = found[name]
        norm = 0.0 if gradient is None else float(gradient.norm())
        np.testing.assert_allclose(norm, max(expected, 0), err_msg=name, **GRADIENTS)


def test_masked_cells_in_one_minibatch_are_those_alone(golden: Golden) -> None:
    stored = golden.arrays("rda")
    network = without_dropout(golden, "default")
    together = predictions(network, stored, list(range(len(stored["rda_mask"]))))
    np.testing.assert_allclose(together.detach(), stored["rda_pred_batch_of_one"], **CLOSE)


def classifier(golden: Golden, stored: dict[str, np.ndarray]) -> CellClassifier:
    """The example's classifier with the stored head."""
    network = without_dropout(golden, "default")
    model = CellClassifier(network, n_classes=len(stored["ft_param::fc1.2.bias"]))
    prefix = "ft_param::"
    head = {name.removeprefix(prefix): torch.from_numpy(one) for name, one in stored.items() if prefix in name}
    model.load_state_dict(head, strict=False)
    return model


def bare(name: str) -> str:
    """What the original calls a parameter of the classifier."""
    return name_in_file(name.removeprefix("network."))


def tokens_of(stored: dict[str, np.ndarray], cells: list[int]) -> tuple[Tensor, Tensor, Spans]:
    dense = torch.from_numpy(stored["ft_input"][cells])
    seen = dense > 0
    return dense[seen], seen.nonzero()[:, 1], Spans(tuple(seen.sum(1).tolist()))


def test_classifier_in_evaluation_is_the_authors(golden: Golden) -> None:
    stored = golden.arrays("finetune")
    model = classifier(golden, stored)
    model.norm.running_mean.copy_(torch.from_numpy(stored["ft_bn_running_mean"]))
    model.norm.running_var.copy_(torch.from_numpy(stored["ft_bn_running_var"]))
    model.eval()
    every = list(range(len(stored["ft_input"])))
    with torch.no_grad():
        ours = model(*tokens_of(stored, every))
        original = model(*tokens_of(stored, every), padded=True)
    np.testing.assert_allclose(ours, stored["ft_logits_eval_batch_of_one"], **CLOSE)
    np.testing.assert_allclose(original, stored["ft_logits_eval_batch"], **CLOSE)
    assert not np.allclose(ours, original, rtol=0, atol=1e-3)


def test_classifier_in_training_is_the_authors(golden: Golden) -> None:
    stored = golden.arrays("finetune")
    model = classifier(golden, stored)
    trainable = model.trainable()
    assert {bare(name) for name in trainable} == set(stored["ft_trainable"].tolist())
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trainable)
    logits = model(*tokens_of(stored, list(range(len(stored["ft_input"])))), padded=True)
    np.testing.assert_allclose(logits.detach(), stored["ft_logits_train_nodropout"], **CLOSE)
    loss = cross_entropy(logits, torch.from_numpy(stored["ft_labels"]))
    np.testing.assert_allclose(loss.item(), stored["ft_loss_train_nodropout"], rtol=1e-5)
    loss.backward()
    gradients = {bare(name): one.grad for name, one in model.named_parameters() if one.grad is not None}
    named = {name.removeprefix("ft_grad::"): one for name, one in stored.items() if "ft_grad::" in name}
    assert set(named) <= set(gradients)
    for name, expected in named.items():
        np.testing.assert_allclose(gradients[name], expected, err_msg=name, **GRADIENTS)
