"""``scfm pretrain``: a description of a training in, a model that every verb takes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from typer.testing import Result

import scfm_scverse as scfm_package
from scfm_scverse._errors import InputError
from scfm_scverse.cli._cells import read_files
from scfm_scverse.cli._training_file import PRETRAIN, read_training
from scfm_scverse.io.blocks import take_rows
from scfm_scverse.io.files import write_adata
from support import small_counts

Scfm = Callable[..., Result]

SMALL = """
output = "run"
[data]
input = "cells.h5ad"
validation = 0.2
[model]
architecture = "scgpt"
dim = 16
n_layers = 1
n_heads = 2
[train]
max_epochs = 1
batch_size = 16
checkpoint_every = 1
"""


def describe(folder: Path, text: str = SMALL) -> Path:
    path = folder / "training.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.slow
def test_run_gives_a_model_a_history_and_a_figure_and_goes_on(scfm: Scfm, h5ad: Path, tmp_path: Path) -> None:
    result = scfm("pretrain", describe(tmp_path))
    assert result.exit_code == 0, result.stderr
    assert "2 steps, training loss" in result.stdout
    assert {"run.ckpt", "history.csv", "training.png", "model"} <= {path.name for path in (tmp_path / "run").iterdir()}
    history = pd.read_csv(tmp_path / "run" / "history.csv")
    assert history["validation_loss"].notna().tolist() == [False, True]
    adata = small_counts()
    scfm_package.tl.embed(adata, model=tmp_path / "run" / "model")
    assert adata.obsm["X_scGPT"].shape == (30, 16)
    written = (tmp_path / "run" / "model" / "model.safetensors").read_bytes()
    again = scfm("pretrain", describe(tmp_path))
    assert again.exit_code == 0, again.stderr
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes() == written
    other = scfm("pretrain", describe(tmp_path, SMALL + "lr = 0.5\n"))
    assert (other.exit_code, len(other.stderr.splitlines()[-1:])) == (1, 1)
    assert "lr was None and is 0.5" in other.stderr


@pytest.mark.slow
def test_checkpoint_is_trained_on_for_an_objective_that_is_named(scfm: Scfm, h5ad: Path, tmp_path: Path) -> None:
    names = small_counts().var_names.tolist()
    model = scfm_package.models.create("scgpt", names, dim=16, n_layers=1, n_heads=2)
    model.write(tmp_path / "before")
    start, _, end = SMALL.partition("[model]")
    text = start + '[model]\ncheckpoint = "before"\n[objective]\nname = "MaskedExpression"\nshare = 0.5\n[train]'
    result = scfm("pretrain", describe(tmp_path, text + end.partition("[train]")[2]))
    assert result.exit_code == 0, result.stderr
    found = scfm_package.models.load(tmp_path / "run" / "model")
    assert found.spec.genes.tolist() == model.spec.genes.tolist()
    assert found.spec.weights_hash != model.spec.weights_hash


def test_several_files_are_joined_by_the_names_of_genes(tmp_path: Path) -> None:
    one, two = small_counts(10), small_counts(7, seed=1)
    two = two[:, ::-1][:, 3:].copy()
    expected = np.zeros((17, one.n_vars), np.float32)
    expected[:10] = one.X.toarray()
    expected[10:, one.var_names.get_indexer(two.var_names)] = two.X.toarray()
    one.layers["counts"], one.X = one.X.copy(), None
    two.layers["counts"], two.X = two.X.tocsr(), None
    for adata, name in ((one, "one.h5ad"), (two, "two.zarr")):
        write_adata(AnnData(obs=adata.obs, var=adata.var, layers=dict(adata.layers)), tmp_path / name)
    joined = read_files([tmp_path / "one.h5ad", tmp_path / "two.zarr"], layer="counts")
    assert joined.obs["file"].value_counts().to_dict() == {"one.h5ad": 10, "two.zarr": 7}
    assert joined.obs_names.is_unique
    rows = np.array([0, 5, 9, 10, 16])
    found = take_rows(joined.X, rows).toarray()
    place = joined.var_names.get_indexer(one.var_names)
    np.testing.assert_array_equal(found[:, place], expected[rows])


def test_files_on_different_scales_are_not_joined(tmp_path: Path) -> None:
    one, two = small_counts(10), small_counts(7, seed=1)
    two.X = two.X.log1p()
    for adata, name in ((one, "one.h5ad"), (two, "two.h5ad")):
        write_adata(adata, tmp_path / name)
    told = r"Found linear values in one\.h5ad and logarithms \(base 2\.72\) in two\.h5ad"
    with pytest.raises(InputError, match=told):
        read_files([tmp_path / "one.h5ad", tmp_path / "two.h5ad"])


@pytest.mark.slow
def test_a_linear_model_is_made_for_the_genes_of_the_data(scfm: Scfm, h5ad: Path, tmp_path: Path) -> None:
    text = SMALL.replace('"scgpt"', '"scfm-mini"').replace("n_layers = 1\nn_heads = 2\n", "")
    result = scfm("pretrain", describe(tmp_path, text))
    assert result.exit_code == 0, result.stderr
    assert scfm_package.models.load(tmp_path / "run" / "model").spec.genes[0].startswith("ENSG")


def test_a_model_that_no_run_made_is_not_replaced(scfm: Scfm, h5ad: Path, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    result = scfm("pretrain", describe(tmp_path, SMALL.replace('"run"', '"."')))
    assert result.exit_code == 1
    assert "model beside no run that made it; expected a free name" in result.stderr


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("[train]", "[trian]"), "the key 'trian' in training.toml; did you mean 'train'?"),
        (("batch_size", "batchsize"), "the key 'batchsize' in [train] of training.toml; did you mean 'batch_size'?"),
        (("batch_size = 16", "batch_size = 'x'"), "batch_size = 'x' in [train] of training.toml; expected a whole"),
        (("batch_size = 16", "batch_size = 0"), "batch_size = 0; expected a whole number, 1 at least"),
        (("dim = 16", "dims = 16"), "the key 'dims' in [model] of training.toml; did you mean 'dim'?"),
        (("dim = 16", "dim = 1.5"), "dim = 1.5 in [model] of training.toml; expected a whole number."),
        (('"scgpt"', '"scgtp"'), "the architecture 'scgtp'; expected one of 'scgpt'"),
        (("architecture", "arch"), "expected architecture or checkpoint"),
        (("input", "inputs"), "the key 'inputs' in [data] of training.toml; did you mean 'input'?"),
        (('input = "cells.h5ad"', "layer = 'x'"), "no 'input' in [data] of training.toml"),
        (('"cells.h5ad"', "[]"), "input = [] in [data]"),
        (('"cells.h5ad"', '"cell.h5ad"'), "did you mean cells.h5ad?"),
        (('"cells.h5ad"', '["cells.h5ad", "cells.h5ad"]'), "two files of the name 'cells.h5ad'"),
        (('output = "run"', ""), "no 'output' in training.toml"),
        (('"run"', '"cells.h5ad"'), "which is no folder"),
        (("[model]", "labels_key = 'kind'\n[model]"), "the key 'labels_key' in [data]"),
        (("[model]", "genes = 'none.txt'\n[model]"), "Cannot read genes = "),
        (("[train]", "[objective]\nname = 'MaskedGenes'\n[train]"), "name = 'MaskedGenes' in [objective]"),
        (("[train]", "[objective]\nname = 'MaskedExpression'\nshares = 1\n[train]"), "the key 'shares' in [objective]"),
        (("max_epochs = 1", "max_epochs = ["), "no TOML: "),
    ],
)
def test_mistakes_in_the_file_are_one_line(
    scfm: Scfm, h5ad: Path, tmp_path: Path, change: tuple[str, str], told: str
) -> None:
    describe(tmp_path, SMALL.replace(*change))
    result = scfm("pretrain", "training.toml")
    errors = [line for line in result.stderr.splitlines() if line.startswith("scfm: error: ")]
    assert (result.exit_code, len(errors)) == (1, 1)
    assert told in errors[0]
    assert not (tmp_path / "run").exists()


def test_example_of_the_help_is_a_training(scfm: Scfm, tmp_path: Path) -> None:
    shown = scfm("pretrain", "--help").stdout
    assert all(line.strip() in shown for line in PRETRAIN.splitlines())
    asked = read_training(describe(tmp_path, PRETRAIN), "pretrain")
    assert asked.input == (tmp_path / "one.h5ad", tmp_path / "two.zarr")
    assert asked.train == {"max_epochs": 2, "precision": "bfloat16"}
