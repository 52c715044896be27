"""Which parameter goes into which group."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from scfm_scverse.training import galore_param_groups


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.genes, self.bins = nn.Embedding(2000, 64), nn.Embedding(51, 64)
        self.square, self.wide, self.narrow = nn.Linear(64, 64), nn.Linear(64, 256, bias=False), nn.Linear(64, 8)
        self.conv, self.norm = nn.Conv1d(64, 64, 3), nn.LayerNorm(64)


def names(network: nn.Module, groups: list[dict[str, Any]]) -> list[set[str]]:
    known = {id(param): name for name, param in network.named_parameters()}
    return [{known[id(param)] for param in group["params"]} for group in groups]


def test_matrices_tables_and_the_rest_are_told_apart() -> None:
    network = Network()
    network.norm.bias.requires_grad_(False)
    groups = galore_param_groups(network, rank=16, update_proj_gap=50, scale=1.0, proj_type="right")
    low, rows, rest = names(network, groups)
    assert low == {"square.weight", "wide.weight", "bins.weight"}
    assert rows == {"genes.weight"}
    assert rest == {"square.bias", "narrow.weight", "narrow.bias", "conv.weight", "conv.bias", "norm.weight"}
    assert [sorted(set(group) - {"params"}) for group in groups] == [
        ["proj_type", "rank", "scale", "update_proj_gap"],
        ["rowwise"],
        [],
    ]
    assert (groups[0]["rank"], groups[0]["update_proj_gap"], groups[0]["scale"]) == (16, 50, 1.0)


@pytest.mark.parametrize(("embedding", "group"), [("rowwise", 1), ("lowrank", 0), ("adamw", -1)])
def test_large_tables_go_where_they_are_wanted(embedding: Any, group: int) -> None:
    network = Network()
    found = names(network, galore_param_groups(network, rank=16, embedding=embedding))
    assert "genes.weight" in found[group]


def test_table_that_a_layer_shares_is_a_matrix() -> None:
    network = Network()
    head = nn.Linear(64, 2000, bias=False)
    head.weight = network.genes.weight
    network.head = head
    assert "genes.weight" in names(network, galore_param_groups(network, rank=16))[0]


def test_table_that_the_network_says_is_tied_is_a_matrix() -> None:
    class Tied(Network):
        @property
        def tied(self) -> tuple[nn.Parameter, ...]:
            return (self.genes.weight,)

    network = Tied()
    assert "genes.weight" in names(network, galore_param_groups(network, rank=16))[0]


@pytest.mark.parametrize(("rank", "low"), [(42, True), (43, False)])
def test_square_matrix_is_of_low_rank_below_two_thirds_of_its_side(rank: int, low: bool) -> None:
    assert ("rank" in galore_param_groups(nn.Linear(64, 64, bias=False), rank=rank)[0]) == low
