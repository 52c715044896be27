"""What settings make of a network and of its optimizer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scfm_scverse._errors import InputError
from scfm_scverse.nn import Encoder, Spans
from scfm_scverse.training import GaLoreAdamW, TrainSettings
from scfm_scverse.training.lora import AdaptedLinear
from scfm_scverse.training.optimizers import make_optimizer, prepare_network, rate, release_network

GENES = 1500


class Network(nn.Module):
    """A table of genes, an encoder, a head."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.genes, self.encoder, self.head = nn.Embedding(GENES, 16), Encoder(2, 16, 2, 16), nn.Linear(16, 2)

    def forward(self, ids: Tensor) -> Tensor:
        """[t] -> [t, 2]."""
        out: Tensor = self.head(self.encoder(self.genes(ids), Spans((len(ids),))))
        return out


def settings(**options: Any) -> TrainSettings:
    return TrainSettings(**{"optimizer_kwargs": {"rank": 4}, **options})


def trained(network: Network, chosen: TrainSettings, **more: Any) -> Network:
    prepare_network(network, chosen, **more)
    optimizer = make_optimizer(network, chosen)
    for _ in range(3):
        network(torch.arange(20)).float().square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return network


def test_large_tables_have_gradients_of_the_rows_that_were_looked_up() -> None:
    network = Network()
    prepare_network(network, settings())
    network(torch.tensor([3, 3, 7])).sum().backward()
    assert network.genes.weight.grad is not None
    assert network.genes.weight.grad.is_sparse
    assert sorted(network.genes.weight.grad.coalesce().indices()[0].tolist()) == [3, 7]


@pytest.mark.parametrize(
    "options", [{"optimizer": "adamw", "optimizer_kwargs": {}}, {"optimizer_kwargs": {"embedding": "adamw"}}]
)
def test_tables_of_adamw_have_dense_gradients(options: dict[str, Any]) -> None:
    network = Network()
    prepare_network(network, settings(**options))
    assert not network.genes.sparse


def test_sparse_gradients_train_as_dense_ones() -> None:
    sparse = trained(Network(), settings())
    dense = Network()
    optimizer = make_optimizer(dense, settings())
    for _ in range(3):
        dense(torch.arange(20)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    for ours, theirs in zip(sparse.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_galore_keeps_projections_and_moments_in_8_bits_unless_told_otherwise() -> None:
    lean = make_optimizer(Network(), settings())
    assert isinstance(lean, GaLoreAdamW)
    assert lean.in_backward == "project"
    assert {group["moments"] for group in lean.param_groups} == {"8bit"}
    told = make_optimizer(Network(), settings(optimizer_kwargs={"rank": 4, "in_backward": None, "moments": "float32"}))
    assert isinstance(told, GaLoreAdamW)
    assert told.in_backward is None
    assert {group["moments"] for group in told.param_groups} == {"float32"}
    make_optimizer(Network(), settings(optimizer_kwargs={"rank": 4, "compat": "released", "embedding": "adamw"}))


def test_several_processes_keep_whole_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    optimizer = make_optimizer(Network(), settings())
    assert isinstance(optimizer, GaLoreAdamW)
    assert optimizer.in_backward is None


def test_thin_matrices_are_trained_and_heads_whole() -> None:
    network = Network()
    before = {name: param.detach().clone() for name, param in network.named_parameters()}
    chosen = settings(optimizer="adamw", optimizer_kwargs={}, lora_rank=2, lr=0.1)
    trained(network, chosen, heads=network.head.parameters())
    assert type(network.head) is nn.Linear
    assert isinstance(network.encoder.layers[0].linear1, AdaptedLinear)
    after = dict(network.named_parameters())
    same = {name for name, old in before.items() if torch.equal(old, after[name])}
    assert same == {name for name in before if not name.startswith("head")}
    expected = network(torch.arange(9)).detach()
    release_network(network)
    torch.testing.assert_close(network(torch.arange(9)).detach(), expected, rtol=1e-5, atol=1e-5)
    assert set(dict(network.named_parameters())) == set(before)
    assert all(param.requires_grad for param in network.parameters())


def test_network_is_as_it_was_when_the_training_is_over() -> None:
    network = trained(Network(), settings(precision="bfloat16", recompute=True))
    assert {param.dtype for param in network.parameters()} == {torch.bfloat16}
    assert network.encoder.recompute
    release_network(network)
    assert {param.dtype for param in network.parameters()} == {torch.float32}
    assert not network.encoder.recompute
    assert not network.genes.sparse


def test_rate_rises_and_falls() -> None:
    rates = [rate(step, warmup=4, total=20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1
    assert all(one >= other for one, other in pairwise(rates[4:]))
    assert rates[-1] == pytest.approx(0.01)


def test_thin_matrices_need_linear_layers_to_stand_beside() -> None:
    network = nn.Sequential(nn.Embedding(4, 2), nn.Linear(2, 2))
    with pytest.raises(InputError, match="Found lora_rank=2 for a network without linear layers"):
        prepare_network(network, TrainSettings(lora_rank=2), heads=network[1].parameters())
    assert network[0].weight.requires_grad
