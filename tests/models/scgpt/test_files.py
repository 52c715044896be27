"""The three files of a checkpoint: every naming of their tensors, and what is wrong with some."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import scfm_scverse as scfm
from scfm_scverse._errors import CheckpointError
from scfm_scverse.models.scgpt import recognises
from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.files import Checkpoint, read_checkpoint


def renamed(tensors: dict[str, Tensor], naming: str) -> dict[str, Tensor]:
    wrapped = {name.replace("self_attn.", "self_attn._impl."): one for name, one in tensors.items()}
    torchs = {re.sub(r"Wqkv\.", "in_proj_", name): one for name, one in tensors.items()}
    return {
        "wrapped": wrapped,
        "torch": torchs,
        "module.": {f"module.{name}": one for name, one in tensors.items()},
        "module., torch": {f"module.{name}": one for name, one in torchs.items()},
    }[naming]


@pytest.mark.parametrize("naming", ["wrapped", "torch", "module.", "module., torch"])
def test_every_naming_gives_the_same_network(
    checkpoint: Checkpoint, tensors: dict[str, Tensor], write: Callable[..., Path], naming: str
) -> None:
    path = write()
    torch.save(renamed(tensors, naming), path / "best_model.pt")
    other = read_checkpoint(path)
    expected, found = (build_network(one)[0].state_dict() for one in (checkpoint, other))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert len(found) == len(tensors)


def test_a_file_in_the_folder_may_be_named(shared: Path, checkpoint: Checkpoint) -> None:
    folder = shared / "golden" / "scgpt" / "model"
    path = folder / "best_model.torch_naming.pt"
    assert recognises(folder)
    assert recognises(path)
    model = scfm.models.load(path)
    assert model.spec.weights_hash == scfm.models.load(folder).spec.weights_hash
    assert "torch naming" in str(model.report())


def test_every_tensor_is_placed_and_tokens_stand_in_the_order_of_their_ids(
    folder: Path, checkpoint: Checkpoint, tensors: dict[str, Tensor]
) -> None:
    network, report = build_network(checkpoint)
    assert set(report.placed) == set(tensors)
    assert not report.ignored
    assert not report.made
    ids = json.loads((folder / "model" / "vocab.json").read_text())
    assert list(ids.values()) != sorted(ids.values())
    assert all(checkpoint.vocabulary[at] == token for token, at in ids.items())
    assert not network.training


def test_special_tokens_that_the_vocabulary_lacks_stand_at_its_end(
    checkpoint: Checkpoint, write: Callable[..., Path]
) -> None:
    read = read_checkpoint(write(vocab={"<cls>": None, "<eoc>": None, "<pad>": None}))
    assert read.appended == ("<pad>", "<cls>", "<eoc>")
    np.testing.assert_array_equal(read.vocabulary, checkpoint.vocabulary)
    assert "appended to the vocabulary: <pad>, <cls>, <eoc>" in str(build_network(read)[1])


def test_what_a_fine_tuned_file_has_beside_the_network_is_listed(
    tensors: dict[str, Tensor], write: Callable[..., Path]
) -> None:
    width = len(tensors["encoder.enc_norm.weight"])
    extra = {"cls_decoder.out_layer.weight": torch.ones(4, width), "cls_decoder.out_layer.bias": torch.zeros(4)}
    extra |= {"value_encoder.embedding.bias": torch.ones(2), "strange": torch.ones(2)}
    model = scfm.models.load(write(state=extra, args={"new_option": [1], "USE_CLS": None, "n_bins": None}))
    assert model.network.config.n_classes == 4
    assert dict(model.report().ignored) == {
        "value_encoder.embedding.bias": "of another encoder of values",
        "strange": "unknown to this model",
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"state": {"encoder.embedding.weight": None}}, "no tensor 'encoder.embedding.weight'"),
        ({"state": {"value_encoder.linear2.bias": None}}, "lacks the tensor 'value_encoder.linear2.bias'"),
        (
            {"state": {"transformer_encoder.layers.1.self_attn.Wqkv.weight": None}},
            r"'transformer_encoder.layers.1.in_proj",
        ),
        ({"state": {"decoder.fc.2.bias": torch.ones(7)}}, r"'decoder.fc.2.bias' of shape \(7,\); expected \(32,\)"),
        ({"state": {"transformer_encoder.layers.99999.norm1.bias": torch.ones(32)}}, "nlayers=3"),
        ({"state": {"encoder.embedding.weight": torch.ones(301, 32)}}, "301 rows for the 300 tokens"),
        ({"state": {"encoder.embedding.weight": torch.ones(300)}}, "expected a matrix"),
        ({"state": {"number": 3}}, "plain state dict|plain dictionary"),
        ({"vocab": {"<cls>": 7}}, "the id 7|the id [0-9]+; expected the 300 ids"),
        ({"vocab": {"<cls>": "a"}}, "the id 'a'"),
        ({"vocab": {"<cls>": -1}}, "the id -1"),
        ({"vocab": {"EXTRA": 300}}, "300 rows for the 301 tokens"),
        ({"args": {"nheads": 5}}, "nheads=5; expected a number that divides the width 32"),
        ({"args": {"nheads": None}}, "nheads=None"),
        ({"args": {"dropout": "0.2"}}, "dropout='0.2'; expected a number"),
        ({"args": {"embsize": 64}}, "embsize=64"),
        ({"args": {"nlayers": 12}}, "nlayers=12"),
    ],
)
def test_what_does_not_fit_is_named(
    shared: Path, folder: Path, write: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    if folder.name == "second":
        pytest.skip("sizes are those of the first")
    with pytest.raises(CheckpointError, match=message):
        scfm.models.load(write(**changes))


def test_one_tensor_under_two_names_is_an_error(tensors: dict[str, Tensor], write: Callable[..., Path]) -> None:
    name = "transformer_encoder.layers.0.self_attn.in_proj_bias"
    with pytest.raises(CheckpointError, match="which are one tensor"):
        scfm.models.load(write(state={name: torch.ones(96)}))


def test_a_folder_without_weights_says_so(write: Callable[..., Path]) -> None:
    path = write()
    (path / "best_model.pt").unlink()
    with pytest.raises(CheckpointError, match=r"holds no best_model\.pt"):
        scfm.models.load(path)


@pytest.mark.parametrize("name", ["args.json", "vocab.json"])
def test_a_json_file_that_is_missing_is_named(write: Callable[..., Path], name: str) -> None:
    path = write()
    (path / name).unlink()
    for asked in (path, path / "best_model.pt"):
        assert recognises(asked)
        with pytest.raises(CheckpointError, match=f"holds no {re.escape(name)}; expected"):
            scfm.models.load(asked)


@pytest.mark.parametrize("key", ["model_state_dict", "state_dict"])
def test_tensors_inside_a_training_state_are_read(
    tensors: dict[str, Tensor], write: Callable[..., Path], key: str
) -> None:
    path = write()
    expected = scfm.models.load(path).spec
    torch.save({"epoch": 3, key: tensors, "optimizer": {"lr": 0.1}}, path / "best_model.pt")
    model = scfm.models.load(path)
    assert model.spec.id == expected.id
    assert set(model.report().placed) == {f"{key}/{name}" for name in tensors}


@pytest.mark.parametrize("keys", [("epoch", "weights"), ("model_state_dict", "state_dict")])
def test_a_training_state_that_is_not_understood_names_its_entries(
    tensors: dict[str, Tensor], write: Callable[..., Path], keys: tuple[str, str]
) -> None:
    path = write()
    torch.save(dict.fromkeys(keys, tensors), path / "best_model.pt")
    with pytest.raises(CheckpointError, match=f"{keys[0]!r}, {keys[1]!r}.*; expected .*'model_state_dict'"):
        scfm.models.load(path)


def test_tensors_without_names_are_an_error(tensors: dict[str, Tensor], write: Callable[..., Path]) -> None:
    path = write()
    for content in (dict(enumerate(tensors.values())), list(tensors.values())):
        torch.save(content, path / "best_model.pt")
        with pytest.raises(CheckpointError, match="expected a plain dictionary"):
            scfm.models.load(path)


def test_bins_that_the_authors_embedding_does_not_heed_are_told(write: Callable[..., Path]) -> None:
    facts = scfm.models.load(write(args={"n_bins": 11})).report().facts
    assert facts["bins"] == "51, as the authors' embedding has it; args.json says 11"
    for n_bins in (51, None):
        assert scfm.models.load(write(args={"n_bins": n_bins})).report().facts["bins"] == "51"


@pytest.mark.parametrize("name", ["args.json", "vocab.json", "best_model.pt"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_truncated_file_is_an_error(write: Callable[..., Path], name: str, share: float) -> None:
    path = write()
    content = (path / name).read_bytes()
    (path / name).write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=re.escape(name)):
        scfm.models.load(path)


@pytest.mark.parametrize("names", [[], ["args.json"], ["config.json", "model.safetensors"], ["vocab.json", "a.pt"]])
def test_other_folders_are_not_recognised(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).write_text("{}")
    assert not recognises(tmp_path)
    assert not recognises(tmp_path / "a.pt")
    assert not recognises(tmp_path / "absent")
