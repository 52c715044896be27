"""What a model is called: the same for the same numbers, another for whatever changes a result."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import scfm_scverse as scfm

Write = Callable[..., Path]


@pytest.fixture
def plain(write: Write) -> str:
    return spec_id(write())


def spec_id(path: Path, **options: Any) -> str:
    return scfm.models.load(path, **options).spec.id


def test_a_spec_tells_sizes_options_and_context(write: Write) -> None:
    path = write()
    spec = scfm.models.load(path).spec
    network = scfm.models.load(path).network.config
    assert spec.version == f"{network.n_layers}x{network.dim}"
    assert spec.options == ()
    assert spec.context == 1200
    other = scfm.models.load(path, ties="middle", max_length=40, cls_value=0).spec
    assert other.options == (("ties", "middle"), ("max_length", "40"), ("cls_value", "0.0"))
    assert other.context == 40
    assert (other.version, other.weights_hash) == (spec.version, spec.weights_hash)


def test_numbers_of_numpy_are_the_same_options(write: Write) -> None:
    path = write()
    found = scfm.models.load(path, max_length=np.int64(40), cls_value=np.float32(1)).spec
    assert found.id == spec_id(path, max_length=40, cls_value=1)


def test_a_folder_may_be_renamed_and_converted(
    write: Write, tensors: dict[str, Tensor], plain: str, tmp_path: Path
) -> None:
    path = write()
    other = tmp_path / "renamed"
    other.mkdir()
    for name in ("args.json", "vocab.json"):
        shutil.copy(path / name, other / name)
    save_file(tensors, other / "model.safetensors")
    assert spec_id(other) == plain
    save_file({name: tensor.clone() for name, tensor in reversed(tensors.items())}, other / "model.safetensors")
    assert spec_id(other) == plain


@pytest.mark.parametrize("pattern", [("Wqkv.", "in_proj_"), ("self_attn.", "self_attn._impl."), ("", "module.")])
def test_naming_changes_no_id(write: Write, tensors: dict[str, Tensor], plain: str, pattern: tuple[str, str]) -> None:
    path = write()
    renamed = {name.replace(*pattern, 1): tensor for name, tensor in tensors.items()}
    assert renamed.keys() != tensors.keys()
    torch.save(renamed, path / "best_model.pt")
    assert spec_id(path) == plain


def test_what_the_model_does_not_read_changes_no_id(write: Write, plain: str) -> None:
    extra = {"value_encoder.embedding.bias": torch.ones(2), "strange": torch.ones(2)}
    assert spec_id(write(state=extra, args={"epochs": 99, "save_dir": "elsewhere", "n_bins": 11})) == plain


@pytest.mark.parametrize("args", [{"nheads": 2}, {"pad_value": -3}, {"input_emb_style": "scaling"}])
def test_what_only_args_json_tells_changes_the_id(write: Write, plain: str, args: dict[str, Any]) -> None:
    assert spec_id(write(args=args)) != plain


def test_another_vocabulary_or_another_number_changes_the_id(
    write: Write, checkpoint: Any, tensors: dict[str, Tensor], plain: str
) -> None:
    first, second = checkpoint.vocabulary[:2].tolist()
    assert spec_id(write(vocab={first: 1, second: 0})) != plain
    assert spec_id(write(vocab={first: None, "RENAMED": 0})) != plain
    name = "value_encoder.linear1.bias"
    assert spec_id(write(state={name: tensors[name] + 1e-3})) != plain
