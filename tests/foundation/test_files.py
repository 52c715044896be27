"""A saved model is whole, safe to read and reads back as it was."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch

import scfm_scverse as scfm
from scfm_scverse import FoundationModel
from scfm_scverse._errors import CheckpointError, FileError, InputError
from support import FAST, tiny_foundation, two_types

if TYPE_CHECKING:
    from scfm_scverse.models import Trainable


@pytest.fixture(scope="module")
def saved(trained: FoundationModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the trained model was saved; nobody may change it."""
    folder = tmp_path_factory.mktemp("saved") / "model"
    trained.save(folder)
    return folder


def test_a_saved_model_reads_back_as_it_was(trained: FoundationModel, saved: Path) -> None:
    adata = two_types(seed=1)
    back = FoundationModel.load(saved)
    assert back.is_trained
    assert back.cell_model.spec.id == trained.cell_model.spec.id
    np.testing.assert_array_equal(back.get_latent_representation(adata), trained.get_latent_representation(adata))
    pd.testing.assert_frame_equal(back.predict(adata, soft=True), trained.predict(adata, soft=True))
    pd.testing.assert_frame_equal(back.history_table, trained.history_table)
    pd.testing.assert_frame_equal(back.history["train_loss"], trained.history["train_loss"])
    assert back.registry["setup_args"] == trained.registry["setup_args"]
    assert back.get_var_names().tolist() == trained.adata.var_names.tolist()


def test_a_folder_holds_tensors_and_text_only(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".safetensors", ".json", ".txt", ".csv"}


def test_a_folder_is_a_model_to_every_verb(trained: FoundationModel, saved: Path) -> None:
    adata = two_types(seed=1)
    scfm.tl.embed(adata, model=saved, dtype="float32")
    np.testing.assert_allclose(adata.obsm["X_scGPT"], trained.get_latent_representation(adata), atol=1e-6)
    assert FoundationModel.from_pretrained(saved).labels_ == trained.labels_


def test_other_data_go_on_with_a_saved_model(trained: FoundationModel, saved: Path) -> None:
    adata = two_types(seed=1)[:, ::-1].copy()
    model = FoundationModel.load(saved, adata)
    np.testing.assert_allclose(
        model.get_latent_representation(), trained.get_latent_representation(two_types(seed=1)), atol=1e-6
    )
    head = model.module.cls_decoder
    model.train(1, **FAST)
    assert model.module.cls_decoder is head
    assert model.history["train_loss"].index.tolist() == [0, 1, 2]


def test_new_names_come_behind_those_of_the_reference(
    trained: FoundationModel, saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    adata = two_types(seed=1)
    adata.obs["kind"] = np.where(np.arange(60) < 20, "A new cell", adata.obs["kind"])
    adata.obs["batch"] = "three"
    with pytest.raises(InputError, match="holds 'three'"):
        FoundationModel.load(saved, adata.copy())
    caplog.set_level("INFO", "scfm")
    query = FoundationModel.load_query_data(adata, saved)
    assert "new in these data: label 'A new cell', batch 'three'" in caplog.text
    assert "stay trainable" in caplog.text
    assert query.registry["field_registries"]["labels"]["state_registry"]["categorical_mapping"].tolist() == [
        "B cell",
        "T/NK cell",
        "A new cell",
    ]
    assert not query.is_trained
    assert query.predict().tolist() == trained.predict(two_types(seed=1)).tolist()
    query.train(1, **FAST)
    assert query.labels_ == ["B cell", "T/NK cell", "A new cell"]
    assert trained.labels_ == ["B cell", "T/NK cell"]


def test_unlabelled_cells_are_a_query(trained: FoundationModel) -> None:
    adata = two_types(seed=1)
    del adata.obs["kind"]
    query = FoundationModel.load_query_data(adata, trained)
    assert query.predict().tolist() == trained.predict(two_types(seed=1)).tolist()


@pytest.mark.parametrize(
    "name", ["model.safetensors", "args.json", "vocab.json", "registry.json", "var_names.txt", "history.csv"]
)
def test_a_damaged_file_is_named(saved: Path, tmp_path: Path, name: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=rf"{name} is not as it was saved"):
        FoundationModel.load(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=rf"lacks {name}"):
        FoundationModel.load(folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"sha256": {}}', '{"sha256": 3, "model_id": "", "options": {}, "written_by": ""}']
)
def test_a_damaged_manifest_is_named(saved: Path, tmp_path: Path, text: str) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"manifest\.json cannot be read"):
        FoundationModel.load(folder)


def test_weights_that_are_not_those_of_the_manifest_are_refused(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    about = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(about | {"model_id": "scGPT-1x16:0"}))
    with pytest.raises(CheckpointError, match=r"reads as scGPT.*expected scGPT-1x16:0"):
        FoundationModel.load(folder)


def test_a_pickle_of_another_package_is_not_read(tmp_path: Path) -> None:
    torch.save({"attr_dict": {}}, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match=r"model\.pt.*a pickle, which can run any program"):
        FoundationModel.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds no manifest\.json, expected a folder that FoundationModel\.save"):
        FoundationModel.load(tmp_path / "nothing")


def test_only_a_model_saved_before_is_replaced(trained: FoundationModel, tmp_path: Path) -> None:
    kept = tmp_path / "mine"
    kept.mkdir()
    (kept / "notes.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="exists; expected a new folder"):
            trained.save(kept, overwrite=overwrite)
    assert (kept / "notes.txt").read_text() == "years of work"
    trained.save(tmp_path / "new" / "model")
    with pytest.raises(InputError, match="overwrite=True"):
        trained.save(tmp_path / "new" / "model")
    trained.save(tmp_path / "new" / "model", overwrite=True)


def test_a_save_that_fails_leaves_the_one_before(
    trained: FoundationModel, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(saved, tmp_path / "model")
    write = type(trained.cell_model).write

    def fail(model: Trainable, path: Path) -> None:
        write(model, path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(trained.cell_model), "write", fail)
    with pytest.raises(FileError, match="No space left on device"):
        trained.save(folder, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert FoundationModel.load(folder).cell_model.spec.id == trained.cell_model.spec.id


def test_an_untrained_model_is_saved_too(tmp_path: Path) -> None:
    model = tiny_foundation(labels_key=None)
    model.save(tmp_path / "model")
    back = FoundationModel.load(tmp_path / "model", two_types())
    assert not back.is_trained
    assert back.history is None
    np.testing.assert_array_equal(back.get_latent_representation(), model.get_latent_representation())


def test_a_model_without_data_is_saved_too(trained: FoundationModel, tmp_path: Path) -> None:
    model = FoundationModel.from_pretrained(trained.cell_model)
    model.save(tmp_path / "model")
    back = FoundationModel.load(tmp_path / "model")
    assert back.cell_model.spec.id == trained.cell_model.spec.id
    assert back.adata is None


def test_data_stay_set_up_as_they_were_for_a_saved_model(saved: Path) -> None:
    adata = two_types()
    adata.obs["half"] = np.where(np.arange(60) < 30, "first", "second")
    FoundationModel.setup_anndata(adata, labels_key="half")
    model = FoundationModel.from_pretrained(saved, adata)
    assert model.registry["setup_args"]["labels_key"] == "half"
    model.train(1, **FAST)
    assert model.labels_ == ["first", "second"]


def test_a_folder_with_another_manifest_is_not_replaced(trained: FoundationModel, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="which this class did not save"):
        trained.save(tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]
