"""Files of weights of either format, and those that we write."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import mentions, read_tensors, read_weights
from scfm_scverse.checkpoints.tensors import as_json, write_weights

WEIGHTS = {"layer.a": torch.arange(6.0).reshape(2, 3), "layer.b": torch.ones(2, dtype=torch.int64)}


def same(found: Any, value: Any) -> None:
    """Equal all the way down, whatever the order of the keys."""
    if isinstance(value, dict):
        assert found.keys() == value.keys()
        for name, one in value.items():
            same(found[name], one)
    elif isinstance(value, torch.Tensor):
        assert found.dtype == value.dtype
        assert torch.equal(found, value)
    else:
        assert found == value


@pytest.mark.parametrize("name", ["best_model.pt", "panglao.pth", "models.ckpt", "pytorch_model.bin"])
def test_tensors_of_either_format_are_read_alike(tmp_path: Path, name: str) -> None:
    torch.save(OrderedDict(WEIGHTS), tmp_path / name)
    save_file(WEIGHTS, tmp_path / "model.safetensors")
    for file in (name, "model.safetensors"):
        same(read_tensors(tmp_path / file), WEIGHTS)
        assert mentions(tmp_path / file, b"layer.a", b"layer.b")
        assert not mentions(tmp_path / file, b"layer.a", b"layer.c")


def test_other_files_mention_nothing(tmp_path: Path) -> None:
    for name in ("x.pt", "x.safetensors"):
        (tmp_path / name).write_bytes(b"layer.a")
        assert not mentions(tmp_path / name, b"layer.a")
        assert not mentions(tmp_path / f"absent{name}", b"layer.a")
    assert not mentions(tmp_path, b"layer.a")


def test_nest_of_dictionaries_comes_back(tmp_path: Path) -> None:
    both = torch.arange(12.0).reshape(3, 4)
    nest = {
        "cell": {"config": {"model": "x", "sizes": [1, 2.5, None]}, "state_dict": {"a.b": both, "tied": both}},
        "part": {"turned": both.T, "rows": both[1:]},
        "epoch": 3,
        "losses": [np.float64(0.5)],
        "optimizer": {"state": {0: torch.ones(2)}, "groups": [{"params": [0]}]},
        "nothing": {},
    }
    left_out = write_weights(tmp_path / "model.safetensors", nest)
    assert left_out == {"optimizer/state": "holds a dictionary whose keys are no text, which JSON does not have"}
    del nest["optimizer"]["state"]  # type: ignore[attr-defined]
    same(read_weights(tmp_path / "model.safetensors"), nest)


def test_name_with_a_slash_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'a/b'; expected names without '/'"):
        write_weights(tmp_path / "model.safetensors", {"a/b": torch.ones(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("about", ["[1]", "{", '{"a": 1}', '{"a": {"b": 2}, "a": 3}'])
def test_header_that_does_not_fit_is_refused(tmp_path: Path, about: str) -> None:
    save_file({"a/b": torch.ones(1)}, tmp_path / "x.safetensors", metadata={"scfm-checkpoint": about})
    with pytest.raises(CheckpointError, match="convert the checkpoint again"):
        read_weights(tmp_path / "x.safetensors")


def test_other_things_than_tensors_are_no_state_dict(tmp_path: Path) -> None:
    torch.save({**WEIGHTS, "epoch": 3}, tmp_path / "x.pt")
    with pytest.raises(CheckpointError, match="expected a plain state dict"):
        read_tensors(tmp_path / "x.pt")


def test_values_as_json() -> None:
    value = {"a": np.int16(3), "b": np.array([["x"], ["y"]]), "c": (1.5, True, None), "d": {"z", "y"}, np.str_("e"): 1}
    assert as_json(value) == {"a": 3, "b": [["x"], ["y"]], "c": [1.5, True, None], "d": ["y", "z"], "e": 1}
    for wrong in ({1: 2}, b"x", float("nan"), np.array([np.inf]), torch.ones(1)):
        with pytest.raises(TypeError, match="which JSON does not have"):
            as_json(wrong)
