"""Settings of a training, checked before any work."""

from __future__ import annotations

import re
from typing import Any

import pytest

from scfm_scverse._errors import InputError
from scfm_scverse.training.settings import TrainSettings


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"max_epochs": -1}, "max_epochs=-1 and max_steps=-1, which never ends"),
        ({"max_epochs": 0}, "max_epochs=0; expected a whole number, 1 at least, or -1"),
        ({"max_steps": -3}, "max_steps=-3; "),
        ({"batch_size": 0}, "batch_size=0; "),
        ({"accumulate": 0}, "accumulate=0; "),
        ({"checkpoint_every": 0}, "checkpoint_every=0; "),
        ({"devices": 0}, "devices=0; "),
        ({"patience": 0}, "patience=0; expected a whole number, 1 at least, or None"),
        ({"lora_rank": -1}, "lora_rank=-1; "),
        ({"lr": 0}, "lr=0; expected a number above 0, or None"),
        ({"lr": float("nan")}, "lr=nan; "),
        ({"gradient_clip": -1.0}, "gradient_clip=-1.0; "),
        ({"weight_decay": -0.1}, "weight_decay=-0.1; expected a number, 0 or more"),
        ({"warmup": float("inf")}, "warmup=inf; "),
        ({"optimizer": "adam"}, "optimizer='adam'; expected one of 'galore', 'adamw', 'adafactor'"),
        ({"precision": "16"}, "precision='16'; expected one of 'float32', 'bfloat16'"),
    ],
)
def test_value_out_of_its_range_is_told(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=re.escape(f"Found {told}")):
        TrainSettings(**given)


def test_either_limit_may_be_left_out() -> None:
    assert TrainSettings(max_epochs=-1, max_steps=3).max_steps == 3
    assert TrainSettings().max_steps == -1
