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


def lay_out(shared: Path, model: str, folder: Path) -> None:
    """Copy a small checkpoint with the files that its loader needs, and files that it does not."""
    golden = shared / "golden"
    folder.mkdir(parents=True)
    (folder / "README.json").write_text("{}")
    (folder / "damaged.pkl").write_text("no pickle")
    if model == "scbert":
        for name in ("panglao_pretrain.pth", "finetune_best.pth", "label_dict"):
            shutil.copy(golden / model / name, folder)
        with np.load(golden / model / "inputs.npz") as stored:
            (folder / "genes.txt").write_text("\n".join(stored["model_genes"].tolist()))
        return
    for file in (golden / model).iterdir():
        if file.is_file() and file.suffix not in (".npz", ".md"):
            shutil.copy(file, folder)


def same_model(before: Any, after: Any) -> None:
    assert after.spec.id == before.spec.id
    assert after.spec.genes.tolist() == before.spec.genes.tolist()
    np.testing.assert_array_equal(after.gene_vectors(), before.gene_vectors())
    assert getattr(after, "classes", None) == getattr(before, "classes", None)


@pytest.mark.parametrize(
    ("model", "name", "beside"),
    [
        ("scgpt/model", "best_model.pt", {"args.json", "vocab.json"}),
        ("scgpt/model", "best_model.torch_naming.pt", {"args.json", "vocab.json"}),
        ("scfoundation", "models.ckpt", {"genes.tsv"}),
        ("scbert", "panglao_pretrain.pth", {"genes.txt", "label_dict"}),
        ("scbert", "finetune_best.pth", {"genes.txt", "label_dict"}),
    ],
)
def test_converted_file_is_the_same_model(
    scfm: Scfm, shared: Path, tmp_path: Path, model: str, name: str, beside: set[str]
) -> None:
    # scGPT's version is the name of its folder.
    folder, target = tmp_path / "original" / "model", tmp_path / "model"
    lay_out(shared, model, folder)
    result = scfm("convert", folder / name, "-o", target)
    assert result.exit_code == 0, result.stderr
    assert {file.name for file in target.iterdir()} == {"model.safetensors", *beside}
    before = models.load(folder / name)
    same_model(before, models.load(target))
    same_model(before, models.load(target / "model.safetensors"))


def test_converted_file_brings_a_list_of_genes_under_the_authors_name(scfm: Scfm, shared: Path, tmp_path: Path) -> None:
    lay_out(shared, "scfoundation", tmp_path / "original")
    (tmp_path / "original" / "genes.tsv").rename(tmp_path / "original" / "OS_scRNA_gene_index.122.tsv")
    assert scfm("convert", "original/models.ckpt", "-o", "new").exit_code == 0
    same_model(models.load(tmp_path / "original" / "models.ckpt"), models.load(tmp_path / "new"))


@pytest.mark.parametrize(
    "given", ["model_v1/pytorch_model.bin", "model_v2/model.safetensors", "model_v2_cell_classifier"]
)
@pytest.mark.parametrize("suffix", [".json", ".pkl"])
@pytest.mark.parametrize("above", [True, False])
def test_converted_geneformer_brings_its_dictionaries(
    scfm: Scfm, shared: Path, tmp_path: Path, given: str, suffix: str, above: bool
) -> None:
    golden = shared / "golden" / "geneformer"
    folder, _, name = given.partition("/")
    original, target = tmp_path / "original" / folder, tmp_path / "elsewhere" / "model"
    target.parent.mkdir()
    shutil.copytree(golden / folder, original)
    if name.endswith(".bin"):
        (original / "model.safetensors").unlink()
    for file in golden.glob(f"*dict*{suffix}"):
        shutil.copy(file, original.parent if above else original)
    result = scfm("convert", original / name, "-o", target)
    assert result.exit_code == 0, result.stderr
    before, after = models.load(original), models.load(target)
    same_model(before, after)
    assert dict(after.dictionaries.mapping) == dict(before.dictionaries.mapping)
    np.testing.assert_array_equal(after.dictionaries.medians, before.dictionaries.medians)
    assert after.dictionaries.source.startswith(str(target))
    assert {file.suffix for file in target.iterdir()} == {".safetensors", ".json"}


def test_converted_model_is_loaded_with_the_options_that_it_was_converted_with(
    scfm: Scfm, shared: Path, tmp_path: Path
) -> None:
    lay_out(shared, "scbert", tmp_path / "original")
    genes = (tmp_path / "original" / "genes.txt").rename(tmp_path / "panel.txt")
    words = ("convert", "original/finetune_best.pth", "-o", "new")
    assert "pass genes=" in scfm(*words).stderr
    assert not (tmp_path / "new").exists()
    result = scfm(*words, "--option", "genes=panel.txt", "--option", "mode=original")
    assert result.exit_code == 0, result.stderr
    before, after = (
        models.load(tmp_path / name, genes=genes, mode="original") for name in ("original/finetune_best.pth", "new")
    )
    same_model(before, after)


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
    assert scfm("convert", name, "-o", "again.json", "--option", "a=b").exit_code == 2


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
