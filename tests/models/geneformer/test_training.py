"""Steps of training with torch's own optimiser give the weights that the original's gave."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from scfm_scverse.models.geneformer.classify import cell_logits, masked_loss

from .conftest import Golden, Padded


def train(network, loss_of: Callable[[], torch.Tensor], n_steps: int, warm_up: int) -> dict[str, np.ndarray]:
    """Train with AdamW as the original does; loss and gradient norm before each step, and learning rate."""
    decayed = [one for name, one in network.named_parameters() if one.ndim > 1]
    rest = [one for name, one in network.named_parameters() if one.ndim == 1]
    groups = [{"params": decayed, "weight_decay": 0.001}, {"params": rest, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=1e-3)
    seen: dict[str, list[float]] = {"loss": [], "grad_norm": [], "lr": []}
    for step in range(n_steps):
        rate = 1e-3 * (step / warm_up if step < warm_up else (n_steps - step) / (n_steps - warm_up))
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.zero_grad()
        loss = loss_of()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_([one for one in network.parameters() if one.grad is not None], 1.0)
        optimiser.step()
        for name, value in (("loss", loss.item()), ("grad_norm", norm.item()), ("lr", rate)):
            seen[name].append(value)
    return {name: np.array(values) for name, values in seen.items()}


def check(seen, stored, key: str, weights: dict[str, torch.Tensor]) -> None:
    for name, values in seen.items():
        if f"{key}_{name}" in stored:
            np.testing.assert_allclose(values, stored[f"{key}_{name}"], rtol=1e-3)
    for name, found in weights.items():
        np.testing.assert_allclose(found.detach(), stored[f"{key}_after:{name}"], rtol=0, atol=1e-4)
    assert len(weights) == sum(name.startswith(f"{key}_after:") for name in stored)


def test_fine_tuning_takes_the_steps_of_the_original(golden: Golden) -> None:
    network, stored = golden.load("model_v2_cell_classifier").network, golden.arrays("training_steps")
    given = golden.arrays("forward_v2_cell_classifier")
    batch = Padded(given["attention_mask"].astype(bool))
    ids, labels = batch.rows(given["input_ids"]), torch.from_numpy(given["labels"]).long()
    for layer in network.encoder.layers[:2]:
        layer.requires_grad_(requires_grad=False)
    seen = train(network, lambda: cross_entropy(cell_logits(network, ids, batch.spans)[0], labels), 6, 2)
    layers = network.encoder.layers
    weights = {
        "classifier.weight": network.head.classifier.weight,
        "bert.pooler.dense.bias": network.head.pooler.bias,
        "bert.encoder.layer.1.output.dense.weight": layers[1].linear2.weight,
        "bert.encoder.layer.3.output.dense.weight": layers[3].linear2.weight,
        "bert.encoder.layer.2.attention.self.query.weight": layers[2].in_proj.weight.chunk(3)[0],
        "bert.embeddings.position_embeddings.weight": network.position.weight,
    }
    check(seen, stored, "cls", weights)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_pretraining_takes_the_steps_of_the_original(golden: Golden, version: str) -> None:
    network, stored = golden.load(f"model_{version}").network, golden.arrays("training_steps")
    given = golden.arrays(f"forward_{version}")
    batch = Padded(given["attention_mask"].astype(bool))
    ids, labels = batch.rows(given["mlm_input_ids"]), batch.rows(given["mlm_labels"])
    seen = train(network, lambda: masked_loss(network, ids, batch.spans, labels), 5, 3)
    weights = {
        "bert.embeddings.word_embeddings.weight": network.word.weight,
        "cls.predictions.bias": network.head.bias,
        "bert.encoder.layer.0.attention.self.value.weight": network.encoder.layers[0].in_proj.weight.chunk(3)[2],
    }
    check(seen, stored, f"mlm_{version}", weights)
