"""Classes of cells, and objectives that share a pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from scfm_scverse import models
from scfm_scverse._errors import InputError
from scfm_scverse.tokens import Tokens
from scfm_scverse.training.batch import Batch
from scfm_scverse.training.objectives import CellTypes, Joint, balanced_weights


def batch_of(labels: list[int] | None) -> Batch:
    """Four cells of four tokens."""
    ids = np.array([1, 3, 4, 5, 1, 4, 6, 7, 1, 8, 9, 3, 1, 5, 6, 4], np.int32)
    tokens = Tokens(np.arange(0, 17, 4), ids, (ids % 5).astype(np.float32), np.ones(23, bool))
    return Batch(tokens, np.arange(4), 0, None if labels is None else torch.tensor(labels))


@pytest.fixture
def model() -> Any:
    return models.create("scgpt", [f"GENE{at}" for at in range(20)], dim=8, n_layers=1, n_heads=2)


def loss_of(model: Any, labels: list[int] | None, **options: Any) -> Tensor:
    objective = Joint(CellTypes(3, **options))
    objective.prepare(model)
    return objective.losses(model, batch_of(labels))["cell_types"]


def test_cells_of_unknown_class_count_in_no_mean(model: Any) -> None:
    loss = loss_of(model, [0, -1, 2, 2])
    logits = model.class_logits(model.run(batch_of(None).tokens))
    torch.testing.assert_close(loss, cross_entropy(logits[[0, 2, 3]], torch.tensor([0, 2, 2])))
    weights = np.array([1.0, 5.0, 0.25])
    loss = loss_of(model, [0, -1, 2, 2], class_weights=weights, weight=3)
    expected = cross_entropy(logits[[0, 2, 3]], torch.tensor([0, 2, 2]), weight=torch.tensor(weights).float())
    torch.testing.assert_close(loss, 3 * expected)


def test_a_minibatch_without_a_known_class_has_no_loss_and_no_gradient(model: Any) -> None:
    loss = loss_of(model, [-1, -1, -1, -1])
    loss.backward()
    assert loss == 0
    assert all(one.grad is None or not one.grad.any() for one in model.network.parameters())


def test_data_without_labels_are_an_error(model: Any) -> None:
    with pytest.raises(InputError, match="pass labels_key="):
        loss_of(model, None)


def test_balanced_weights_give_each_class_the_same_share_and_leave_the_mean() -> None:
    labels = np.array([0, 0, 0, 2, -1])
    weights = balanced_weights(labels, 4)
    assert weights[[1, 3]].tolist() == [0, 0]
    assert 3 * weights[0] == pytest.approx(weights[2])
    assert weights[labels[labels >= 0]].mean() == pytest.approx(1)


def test_two_objectives_of_one_kind_do_not_hide_each_other(model: Any) -> None:
    objective = Joint(CellTypes(3), CellTypes(3))
    objective.prepare(model)
    with pytest.raises(InputError, match="two objectives with a loss 'cell_types'"):
        objective.losses(model, batch_of([0, 1, 2, 0]))
