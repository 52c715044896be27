"""Pretraining and fine-tuning: losses, gradients, masks, learning rates, predictions, beside the original's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.models.scbert.files import file_name
from scfm_scverse.models.scbert.network import MASK, Network, freeze
from scfm_scverse.models.scbert.pretraining import hide, learning_rate, masked_accuracy, masked_count, masked_loss

from .conftest import WHERE, Golden

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


@pytest.mark.parametrize("mode", ["default", "original"])
def test_masked_loss_and_its_gradients_are_the_originals(golden: Golden, mode: str) -> None:
    stored, network = golden.arrays("mlm"), golden.load(mode=mode).network
    tokens, labels = (torch.from_numpy(stored[name]).long() for name in ("mlm_input", "mlm_labels"))
    together = "one_batch" if mode == "original" else "batch_of_one"
    for logits in (network(tokens), one_by_one(network, tokens)):
        loss = masked_loss(logits, labels)
        np.testing.assert_allclose(logits.detach(), stored[f"mlm_logits_{together}"], rtol=0, atol=2e-5)
        assert float(loss.detach()) == pytest.approx(float(stored[f"mlm_loss_{together}"]), rel=1e-5)
        together = "batch_of_one"  # a cell that goes alone is the same in either mode
    np.testing.assert_allclose(masked_accuracy(logits, labels), stored["mlm_accuracy_per_cell"], rtol=1e-6)
    loss.backward()
    few = {name.partition("::")[2]: grad for name, grad in stored.items() if name.startswith("mlm_grad::")}
    assert len(few) == 8
    gradients_are(network, stored["mlm_grad_names"], stored["mlm_grad_norms"], few)


def test_stored_masks_follow_the_rule(golden: Golden) -> None:
    stored, tokens = golden.arrays("mlm"), golden.arrays("inputs")["tokens"]
    tokens = tokens[stored["mlm_rows"]]
    chosen = stored["mlm_labels"] != MASK
    np.testing.assert_array_equal(chosen.sum(1), masked_count((tokens > 0).sum(1), tokens.shape[1]))
    np.testing.assert_array_equal(stored["mlm_labels"][chosen], tokens[chosen])


def test_number_of_masked_tokens_is_the_originals(golden: Golden) -> None:
    expected = golden.arrays("mlm")["mlm_masked_count_by_nonzero_len401"]
    np.testing.assert_array_equal(masked_count(np.arange(len(expected)), 401), expected)


@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(2, 300))
def test_hidden_tokens_follow_the_rule(seed: int, b: int, t: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(0, 6, (b, t), generator=generator) * (torch.rand(b, t, generator=generator) < 0.4)
    read, labels = hide(tokens, generator)
    chosen, hidden = labels != MASK, read == MASK
    assert chosen.sum(1).tolist() == masked_count((tokens > 0).sum(1).numpy(), t).tolist()
    assert bool((tokens[chosen] > 0).all())
    assert torch.equal(labels[chosen], tokens[chosen])
    assert bool((chosen | ~hidden).all())
    assert torch.equal(read[~hidden], tokens[~hidden])


def test_nine_of_ten_chosen_tokens_are_hidden_and_all_are_as_likely() -> None:
    tokens = torch.cat([torch.zeros(20_000, 1), torch.ones(20_000, 20)], 1).long()
    read, labels = hide(tokens, torch.Generator().manual_seed(0))
    chosen = labels != MASK
    assert float((read == MASK)[chosen].float().mean()) == pytest.approx(0.9, abs=0.01)
    torch.testing.assert_close(chosen[:, 1:].float().mean(0), torch.full((20,), 0.15), rtol=0, atol=0.02)


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
    stored, network = golden.arrays("finetune"), golden.load("finetune_best.pth").network
    freeze(network)
    trainable = {file_name(name) for name, one in network.named_parameters() if one.requires_grad}
    assert trainable == set(stored["trainable"].tolist())
    tokens = torch.from_numpy(golden.arrays("inputs")["tokens"][stored["train_rows"]]).long()
    loss = torch.nn.functional.cross_entropy(one_by_one(network, tokens), torch.from_numpy(stored["train_labels"]))
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
