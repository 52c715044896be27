"""A model that is written and read again, and folders that are damaged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from scfm_scverse import models
from scfm_scverse._errors import CheckpointError
from scfm_scverse.models import Wanted
from scfm_scverse.models.scfm_latent import recognises
from scfm_scverse.models.scfm_latent.model import ScfmLatent
from scfm_scverse.tokens import Tokens
from support import GENES


@pytest.fixture
def folder(model: ScfmLatent, tmp_path: Path) -> Path:
    model.write(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_is_read_as_it_was_written(model: ScfmLatent, folder: Path, tokens: Tokens) -> None:
    found = models.load(folder)
    assert found.spec.id == model.spec.id
    assert found.spec.genes.tolist() == GENES
    assert not found.report().ignored
    want = Wanted(outputs=frozenset({"cell", "expression"}))
    one, other = (each.encode(tokens, want, device=torch.device("cpu"), dtype=torch.float32) for each in (model, found))
    assert torch.equal(one.cell, other.cell)
    assert torch.equal(one.expression.values, other.expression.values)


def test_trained_weights_and_a_head_are_written_too(model: ScfmLatent, tmp_path: Path) -> None:
    before = model.spec.id
    model.add_classes(4, seed=0)
    with torch.no_grad():
        model.network.genes.weight[0] += 1
    model.renew()
    assert model.spec.id != before
    model.write(tmp_path / "trained")
    found = models.load(tmp_path / "trained")
    assert found.spec.id == model.spec.id
    assert torch.equal(found.network.classes.weight, model.network.classes.weight)


def test_what_no_tensor_tells_changes_the_id() -> None:
    sizes = {"dim": 32, "n_layers": 2, "n_latents": 4, "n_reads": 1}
    told = ((4, "human"), (8, "human"), (4, "mouse"))
    made = [models.create("scfm-latent", GENES, n_heads=heads, organism=which, **sizes) for heads, which in told]
    assert made[0].spec.id != made[1].spec.id
    assert [one.spec.organism for one in made] == ["human", "human", "mouse"]


def changed(folder: Path, **entries: Any) -> Path:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | entries
    path.write_text(json.dumps({name: value for name, value in config.items() if value is not ...}))
    return folder


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ({"format": 2}, "format=2; expected 1"),
        ({"dim": ...}, "dim=None; expected a whole number"),
        ({"dim": "32"}, "dim='32'; expected a whole number"),
        ({"dim": True}, "dim=True; expected a whole number"),
        ({"n_heads": 5}, "dim=32 and n_heads=5"),
        ({"n_reads": 4}, "n_reads=4 and n_layers=3"),
        ({"n_latents": 10**9}, "n_latents=1000000000; expected a whole number from 1 to 16,384"),
        ({"organism": "yeast"}, "organism='yeast'; expected 'human' or 'mouse'"),
        ({"n_genes": 7}, "holds 90 names, 90 of them different; expected 7"),
        ({"n_layers": 4}, "lacks the tensor 'layers.2.read_norm.weight' and 17 more"),
        ({"n_latents": 9}, "holds 'latents.weight' of shape .8, 32.; expected .9, 32."),
        ({"n_classes": 2}, "lacks the tensor 'classes.weight'"),
    ],
)
def test_a_config_that_does_not_fit_is_refused_by_its_key(folder: Path, entries: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        models.load(changed(folder, **entries))


def test_missing_and_damaged_files_are_named(folder: Path) -> None:
    genes, weights = folder / "genes.txt", folder / "model.safetensors"
    whole = genes.read_text()
    for text, told in (("\n".join(["CD3E"] * len(GENES)), "1 of them different"), (whole + "\n", "91 names")):
        genes.write_text(text)
        with pytest.raises(CheckpointError, match=told):
            models.load(folder)
    genes.write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(CheckpointError, match=r"genes\.txt is no text"):
        models.load(folder)
    genes.write_text(whole)
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        models.load(folder)
    weights.unlink()
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        models.load(folder)
    (folder / "config.json").write_text('{"model_type": "scfm-latent"')
    with pytest.raises(CheckpointError, match=r"config\.json cannot be read as JSON"):
        models.load(folder)


def test_a_tensor_that_is_missing_or_not_finite_is_named(folder: Path) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"norm.weight": torch.full((32,), np.nan)}, path)
    with pytest.raises(CheckpointError, match=r"'norm\.weight' with NaN"):
        models.load(folder)
    del tensors["decoder.head.bias"]
    save_file(tensors, path)
    with pytest.raises(CheckpointError, match=r"lacks the tensor 'decoder\.head\.bias'"):
        models.load(folder)


def test_folders_of_others_are_not_ours(folder: Path) -> None:
    assert recognises(folder)
    assert not recognises(folder / "model.safetensors")
    assert not recognises(changed(folder, model_type="bert"))
    with pytest.raises(CheckpointError):
        models.load(folder)
