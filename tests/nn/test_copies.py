"""A network elsewhere: one copy, kept until the network changes."""

from __future__ import annotations

import torch
from torch import nn

from scfm_scverse.nn import Copies

CPU = torch.device("cpu")


def test_network_itself_answers_in_float32_on_the_cpu() -> None:
    network = nn.Linear(3, 2)
    copies = Copies(network)
    assert copies.on(CPU, torch.float32) is network
    assert not network.training


def test_copy_is_kept_for_one_precision_and_follows_changed_weights() -> None:
    network = nn.Linear(3, 2)
    copies = Copies(network)
    first = copies.on(CPU, torch.bfloat16)
    assert first.weight.dtype == torch.bfloat16
    assert copies.on(CPU, torch.bfloat16) is first
    with torch.no_grad():
        network.weight.add_(1)
    second = copies.on(CPU, torch.bfloat16)
    torch.testing.assert_close(second.weight, network.weight.bfloat16())
    network.load_state_dict({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)}, assign=True)
    assert not copies.on(CPU, torch.bfloat16).weight.any()
