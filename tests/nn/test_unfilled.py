"""Networks without initial weights."""

from __future__ import annotations

import torch
from torch import nn

from scfm_scverse.nn import Encoder, unfilled
from support import run_python


def test_modules_lie_on_the_meta_device_and_take_tensors() -> None:
    with unfilled():
        made = nn.ModuleList([nn.Embedding(5, 4, padding_idx=1), Encoder(1, 4, 2, 8)])
    assert {one.device.type for one in made.parameters()} == {"meta"}
    stored = nn.ModuleList([nn.Embedding(5, 4, padding_idx=1), Encoder(1, 4, 2, 8)]).state_dict()
    made.load_state_dict(stored, assign=True)
    for name, one in made.state_dict().items():
        torch.testing.assert_close(one, stored[name], rtol=0, atol=0)


def test_modules_built_afterwards_have_initial_weights() -> None:
    with unfilled():
        nn.Linear(2, 2)
    torch.manual_seed(0)
    after = nn.Linear(3, 3).weight
    torch.manual_seed(0)
    torch.testing.assert_close(after, nn.Linear(3, 3).weight, rtol=0, atol=0)
    assert after.device.type == "cpu"


def test_building_loads_no_compiler() -> None:
    code = """
import sys
from torch import nn
from scfm_scverse.nn import unfilled
with unfilled():
    nn.Embedding(5, 4, padding_idx=1)
print("torch._dynamo" in sys.modules)
"""
    assert run_python(code) == "False"
