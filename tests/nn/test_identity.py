"""What tells networks apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from scfm_scverse.nn.identity import AUXILIARY, hash_network, lasting_tensors

NAMES = np.array(["CD3E", "LYZ"])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))


def test_a_network_in_bfloat16_is_that_of_the_same_numbers_in_float32() -> None:
    made = network().to(torch.bfloat16)
    assert hash_network(made, NAMES) == hash_network(made.float(), NAMES) != hash_network(network(), NAMES)


def test_weights_buffers_and_vocabulary_count_and_what_only_training_needs_does_not() -> None:
    made = network()
    before = hash_network(made, NAMES)
    made.add_module(AUXILIARY, nn.Linear(4, 2))
    assert hash_network(made, NAMES) == before
    assert lasting_tensors(made).keys() == network().state_dict().keys()
    assert hash_network(made, NAMES[::-1]) != before
    made.get_buffer("1.running_mean")[0] = 1
    assert hash_network(made, NAMES) != before
