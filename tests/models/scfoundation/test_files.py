"""Files of the released layout, whole, in parts, and damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scfm_scverse as scfm
from scfm_scverse._errors import CheckpointError
from scfm_scverse.models.panel import read_panel
from scfm_scverse.models.scfoundation import recognises

from .conftest import Golden

Edit = Callable[[Callable[[dict[str, Any]], Any]], Path]


def test_every_tensor_is_placed_or_listed(toy: Golden) -> None:
    stored = torch.load(toy.folder / "models.ckpt", weights_only=True)
    names = {name.removeprefix("model.") for name in stored["gene"]["state_dict"]}
    report = toy.model(key="gene").report()
    assert set(report.placed) == names
    assert not report.ignored
    assert not report.made
    assert report.facts["not read"] == "cell, rde"
    of_cells = toy.model(key="cell").report()
    assert set(of_cells.placed) | set(of_cells.ignored) == names
    assert all("decoder" in why for why in of_cells.ignored.values())


def test_sub_models_are_different(toy: Golden) -> None:
    hashes = {toy.model(key=key).spec.weights_hash for key in ("cell", "rde", "gene")}
    assert len(hashes) == 3


def test_file_of_one_sub_model_is_taken_as_it_is(toy: Golden, edited: Edit) -> None:
    expected = toy.model(key="gene").spec.weights_hash
    for change in (lambda stored: {"gene": stored["gene"]}, lambda stored: stored["gene"]):
        model = scfm.models.load(edited(change), key="gene")
        assert model.spec.weights_hash == expected
    assert scfm.models.load(edited(lambda stored: {"gene": stored["gene"]})).spec.outputs >= {"gene", "expression"}


def test_file_is_recognised_by_name_by_folder_and_by_its_tensors(toy: Golden, edited: Edit, tmp_path: Path) -> None:
    path = edited(lambda stored: None)
    assert recognises(path)
    assert recognises(path.parent)
    renamed = path.rename(tmp_path / "weights.pt")
    assert recognises(renamed)
    assert scfm.models.load(renamed).spec.id == toy.model().spec.id
    assert not recognises(path.parent)
    torch.save({"encoder.weight": torch.ones(2)}, tmp_path / "other.pt")
    (tmp_path / "text.ckpt").write_text("no archive")
    assert not recognises(tmp_path / "other.pt")
    assert not recognises(tmp_path / "text.ckpt")


@pytest.mark.parametrize(
    "tensor",
    [
        "token_emb.mlp2.bias",
        "pos_emb.weight",
        "encoder.transformer_encoder.1.self_attn.in_proj_bias",
        "encoder.norm.weight",
        "decoder.performer.net.layers.0.0.fn.fast_attention.projection_matrix",
        "norm.weight",
    ],
)
def test_missing_tensor_is_named(edited: Edit, tensor: str) -> None:
    def cut(stored: dict[str, Any]) -> None:
        del stored["gene"]["state_dict"][f"model.{tensor}"]

    with pytest.raises(CheckpointError, match=tensor.replace(".", r"\.")):
        scfm.models.load(edited(cut), key="gene")


def test_tensor_of_another_shape_is_named(edited: Edit) -> None:
    def shorten(stored: dict[str, Any]) -> None:
        tensors = stored["cell"]["state_dict"]
        tensors["model.pos_emb.weight"] = tensors["model.pos_emb.weight"][:-1].clone()

    with pytest.raises(CheckpointError, match=r"pos_emb\.weight.*\(122, 24\).*\(123, 24\)"):
        scfm.models.load(edited(shorten))


def settings(**changed: Any) -> Callable[[dict[str, Any]], None]:
    def change(stored: dict[str, Any]) -> None:
        stored["cell"]["config"]["model_config"]["mae_autobin"].update(changed)

    return change


ENCODER = {"hidden_dim": 24, "depth": 2, "heads": 3}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (settings(seq_len="many"), "seq_len"),
        (settings(mask_token_id=None), "mask_token_id"),
        (settings(bin_alpha="strong"), "bin_alpha"),
        (settings(encoder=3), "encoder"),
        (settings(encoder={**ENCODER, "module_type": "performer"}), "transformer"),
        (settings(encoder={**ENCODER, "heads": 7}), "multiple"),
        (settings(encoder={**ENCODER, "depth": 10**9}), "depth"),
        (settings(encoder={**ENCODER, "hidden_dim": True}), "hidden_dim"),
        (lambda stored: stored["cell"].pop("config") and None, "settings"),
        (lambda stored: stored["cell"].pop("state_dict") and None, "state_dict"),
        (lambda stored: stored.pop("cell") and None, "sub-model 'cell'"),
        (lambda stored: [1, 2], "sub-model"),
    ],
)
def test_settings_that_no_network_can_have_are_named(edited: Edit, change: Any, match: str) -> None:
    with pytest.raises(CheckpointError, match=match):
        scfm.models.load(edited(change))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_truncated_file_is_an_error(edited: Edit, share: float) -> None:
    path = edited(lambda stored: None)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert recognises(path)
    with pytest.raises(CheckpointError):
        scfm.models.load(path)


def test_genes_come_from_the_caller_or_from_a_table_beside_the_file(toy: Golden, edited: Edit, tmp_path: Path) -> None:
    path = edited(lambda stored: None)
    names = toy.inputs["genes"].tolist()
    table = tmp_path / "genes.tsv"
    assert read_panel("scfm_scverse.models.scfoundation", path, 120, None).tolist() == names
    shuffled = tmp_path / "OS_gene_index.tsv"
    order = np.random.default_rng(0).permutation(120)
    shuffled.write_text("gene_name\tindex\n" + "".join(f"{names[i]}\t{i}\n" for i in order))
    assert read_panel("scfm_scverse.models.scfoundation", path, 120, None).tolist() == names
    assert read_panel("scfm_scverse.models.scfoundation", path, 120, shuffled).tolist() == names
    assert read_panel("scfm_scverse.models.scfoundation", path, 120, names[::-1]).tolist() == names[::-1]
    shuffled.unlink()
    table.unlink()
    with pytest.raises(CheckpointError, match="genes="):
        read_panel("scfm_scverse.models.scfoundation", path, 120, None)
    assert len(read_panel("scfm_scverse.models.scfoundation", path, 19264, None)) == 19264


@pytest.mark.parametrize("given", [["A", "B"], ["A"] * 120])
def test_genes_that_do_not_fit_the_positions_are_refused(toy: Golden, given: list[str]) -> None:
    with pytest.raises(CheckpointError, match="120 different"):
        scfm.models.load(toy.folder, genes=given)


@pytest.mark.parametrize("content", ["", "symbol\tnumber\nA\t0\n", "gene_name\tindex\nA\tfirst\n"])
def test_table_that_is_none_is_refused(toy: Golden, tmp_path: Path, content: str) -> None:
    table = tmp_path / "table.tsv"
    table.write_text(content)
    for path in (table, tmp_path / "absent.tsv"):
        with pytest.raises(CheckpointError, match=r"gene_name|holds 0 names"):
            scfm.models.load(toy.folder, genes=path)
