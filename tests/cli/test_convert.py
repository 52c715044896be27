"""``scfm convert``."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

from scfm_scverse import models

Scfm = Callable[..., Result]


@pytest.mark.parametrize("name", ["scgpt/model", "geneformer/model_v1", "scfoundation"])
def test_converted_checkpoint_is_the_same_model(scfm: Scfm, shared: Path, tmp_path: Path, name: str) -> None:
    # The dictionaries of the small Geneformers lie beside their folders.
    source = shared / "golden" / name
    folder = tmp_path / "original" / "model"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("second", "*.npz", "*.h5ad"))
    for file in source.parent.glob("*.json"):
        shutil.copy(file, folder.parent)
    if name.startswith("geneformer"):
        (folder / "model.safetensors").unlink()
    target = folder.parent / "converted"
    result = scfm("convert", folder, "-o", target)
    assert result.exit_code == 0, result.stderr
    assert "tensors loaded" in result.stdout
    assert "licence: " in result.stdout
    assert {file.suffix for file in target.iterdir()} <= {".safetensors", ".json", ".tsv"}
    before, after = models.load(folder), models.load(target)
    assert after.spec.genes.tolist() == before.spec.genes.tolist()
    np.testing.assert_array_equal(after.gene_vectors(), before.gene_vectors())
    assert len(after.report().placed) == len(before.report().placed)
    assert after.report().source == str(target / "model.safetensors")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("tokens.pkl", {"<pad>": 0, "é": np.int16(3)}, {"<pad>": 0, "é": 3}),
        ("label_dict", np.array(["B cell", "T cell"]), ["B cell", "T cell"]),
        ("x.pickle", {"a": (1, {2})}, {"a": [1, [2]]}),
    ],
)
def test_pickle_becomes_json(scfm: Scfm, tmp_path: Path, name: str, value: Any, expected: Any) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(value))
    result = scfm("convert", name, "-o", "out.json")
    assert result.exit_code == 0
    assert result.stdout == "out.json\n"
    assert json.loads((tmp_path / "out.json").read_text(encoding="utf-8")) == expected


class Evil:
    """Makes a folder when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trace",)


@pytest.mark.parametrize("value", [Evil(), {1: 2}, {"a": b"x"}])
def test_pickle_that_cannot_be_json_leaves_nothing(scfm: Scfm, tmp_path: Path, value: Any) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(value))
    result = scfm("convert", "x.pkl", "-o", "out.json")
    assert result.exit_code == 1
    assert result.stderr.startswith("scfm: error: x.pkl ")
    assert [file.name for file in tmp_path.iterdir()] == ["x.pkl"]


def test_what_exists_is_not_overwritten(scfm: Scfm, tmp_path: Path) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({}))
    (tmp_path / "out.json").write_text("mine")
    assert scfm("convert", "x.pkl", "-o", "out.json").exit_code == 2
    assert (tmp_path / "out.json").read_text() == "mine"


def test_folder_of_no_known_layout_is_one_line(scfm: Scfm, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    result = scfm("convert", "folder", "-o", "out")
    assert result.exit_code == 1
    assert "no checkpoint of a known layout" in result.stderr
    assert not (tmp_path / "out").exists()
