"""``scfm finetune``: labelled cells in, a model that tells their types out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

import scfm_scverse as scfm_package
from scfm_scverse.cli._training_file import FINETUNE, read_training
from scfm_scverse.io.files import write_adata
from support import two_types

Scfm = Callable[..., Result]

SMALL = """
output = "run"
[data]
input = "cells.h5ad"
labels_key = "kind"
holdout_key = "batch"
validation = 0.5
[model]
checkpoint = "before"
[train]
max_epochs = 30
batch_size = 16
lr = 0.01
"""


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    write_adata(two_types(60), tmp_path / "cells.h5ad")
    return tmp_path


def describe(folder: Path, text: str = SMALL) -> Path:
    path = folder / "training.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_run_gives_a_model_that_tells_labels(scfm: Scfm, labelled: Path) -> None:
    adata = two_types(60)
    model = scfm_package.models.create("scgpt", adata.var_names.tolist(), dim=16, n_layers=1, n_heads=2)
    model.write(labelled / "before")
    result = scfm("finetune", describe(labelled))
    assert result.exit_code == 0, result.stderr
    found = scfm_package.FoundationModel.load(labelled / "run" / "model")
    assert (found.predict(two_types(40, seed=5)) == two_types(40, seed=5).obs["kind"]).mean() > 0.9
    assert {"run.ckpt", "history.csv", "training.png", "model"} <= {path.name for path in (labelled / "run").iterdir()}
    assert scfm("finetune", describe(labelled)).exit_code == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('labels_key = "kind"', ""), "no 'labels_key' in [data] of training.toml"),
        (('labels_key = "kind"', 'labels_key = "kinds"'), "kinds"),
        (("holdout_key = ", "holdout = "), "the key 'holdout' in [data] of training.toml; did you mean 'holdout_key'?"),
        (('holdout_key = "batch"', 'holdout_key = "donor"'), "holdout_key = 'donor' is not in adata.obs"),
        (("checkpoint", "architecture"), "expected checkpoint"),
        (('"cells.h5ad"', '["cells.h5ad", "b.h5ad"]'), "2 files in input; expected one"),
        (("[train]", "[objective]\nname = 'CellTypes'\n[train]"), "the key 'objective' in training.toml"),
    ],
)
def test_mistakes_in_the_file_are_one_line(scfm: Scfm, labelled: Path, change: tuple[str, str], told: str) -> None:
    describe(labelled, SMALL.replace(*change))
    result = scfm("finetune", "training.toml")
    errors = [line for line in result.stderr.splitlines() if line.startswith("scfm: error: ")]
    assert (result.exit_code, len(errors)) == (1, 1)
    assert told in errors[0]
    assert not (labelled / "run").exists()


def test_a_label_can_stand_for_none(scfm: Scfm, labelled: Path) -> None:
    text = SMALL.replace("before", "scfm-mini").replace("holdout_key", 'unlabeled_category = "B cell"\nholdout_key')
    result = scfm("finetune", describe(labelled, text))
    assert result.exit_code == 1
    assert "Found 1 classes of cells" in result.stderr


def test_example_of_the_help_is_a_training(scfm: Scfm, tmp_path: Path) -> None:
    shown = scfm("finetune", "--help").stdout
    assert all(line.strip() in shown for line in FINETUNE.splitlines())
    asked = read_training(describe(tmp_path, FINETUNE), "finetune")
    assert asked.data == {"labels_key": "cell_type", "holdout_key": "donor"}
    assert asked.model == {"checkpoint": "scfm-mini"}
