"""Thin matrices beside frozen layers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from scfm_scverse._errors import InputError
from scfm_scverse.training import add_lora, merge_lora

X = torch.randn(64, 24, generator=torch.Generator().manual_seed(0))


def network_of() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 48), nn.Tanh(), nn.Sequential(nn.Linear(48, 24, bias=False), nn.LayerNorm(24)))


def train(network: nn.Module, steps: int = 20) -> Tensor:
    optimizer = torch.optim.AdamW([param for param in network.parameters() if param.requires_grad], lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        (network(X) - X.roll(1, 1)).square().mean().backward()
        optimizer.step()
    return network(X)


def test_network_gives_the_same_before_training() -> None:
    network = network_of()
    before = network(X)
    assert add_lora(network, rank=4) == ["0", "2.0"]
    assert torch.equal(network(X), before)


def test_only_thin_matrices_are_trained() -> None:
    network = network_of()
    frozen = {name: value.clone() for name, value in network.state_dict().items()}
    before = network(X)
    add_lora(network, rank=4, names="^2")
    after = train(network)
    assert not torch.allclose(after, before)
    state = network.state_dict()
    assert state.keys() - frozen.keys() == {"2.0.down", "2.0.up"}
    assert all(torch.equal(state[name], value) for name, value in frozen.items())
    trained = [param.numel() for param in network.parameters() if param.requires_grad]
    assert sum(trained) == 4 * (48 + 24)


def test_merged_network_gives_the_same_with_the_names_it_had() -> None:
    network = network_of()
    names = list(network.state_dict())
    add_lora(network, rank=4, scale=0.5)
    expected = train(network)
    merge_lora(network)
    assert list(network.state_dict()) == names
    assert type(network[0]) is nn.Linear
    torch.testing.assert_close(network(X), expected, rtol=0, atol=1e-5)


def test_first_values_follow_the_seed_and_not_the_global_one() -> None:
    downs = []
    for seed, noise in ((1, 0), (1, 5), (2, 5)):
        network = network_of()
        torch.manual_seed(noise)
        add_lora(network, seed=seed)
        downs.append(network[0].down)
    assert torch.equal(downs[0], downs[1])
    assert not torch.equal(downs[0], downs[2])


def test_layers_of_other_kinds_are_left_alone() -> None:
    network = nn.ModuleDict({"attention": nn.MultiheadAttention(8, 2), "head": nn.Linear(8, 8).bfloat16()})
    assert add_lora(network) == ["head"]
    assert network["head"].up.dtype == torch.bfloat16


def test_name_that_no_layer_has_is_refused() -> None:
    with pytest.raises(InputError, match="none of the 2 linear layers"):
        add_lora(network_of(), names="query")
