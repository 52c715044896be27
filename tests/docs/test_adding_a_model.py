"""The model of the guide: found through its entry point, and good for every verb."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError, ScfmError
from scfm_scverse.models import CellModel, Columns, Wanted, registry
from support import install_example, small_counts


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CellModel]:
    """The example as an installed package, loaded by its name."""
    for folder in install_example(tmp_path):
        monkeypatch.syspath_prepend(folder)
    registry._load_registered.cache_clear()
    yield scfm.models.load("tiny-transformer")
    registry._load_registered.cache_clear()
    sys.modules.pop("tiny_transformer")


def test_example_is_listed(model: CellModel) -> None:
    assert scfm.models.available().loc["tiny-transformer", "dim"] == model.spec.dim
    assert "25 tensors loaded" in str(model.report())


def test_verbs_work_with_it(model: CellModel) -> None:
    adata = small_counts(20)
    scfm.tl.embed(adata, model="tiny-transformer")
    scfm.tl.embed(adata, model="tiny-transformer", pooling="first", output_layer=-2, key_added="X_other")
    assert np.isfinite(adata.obsm["X_tiny"]).all()
    assert not np.allclose(adata.obsm["X_tiny"], adata.obsm["X_other"])


def test_labelled_cells_are_its_reference(model: CellModel) -> None:
    labelled, query = small_counts(), small_counts(seed=1)
    labelled.obs["type"] = ["a", "b"] * 15
    scfm.tl.annotate(query, model="tiny-transformer", reference=labelled, labels_key="type")
    assert set(query.obs["scfm_cell_type_fine"]) <= {"a", "b"}


def test_gene_vectors_are_means_over_the_cells_that_express_the_gene(model: CellModel) -> None:
    adata = small_counts(9)
    adata.obs["kind"] = np.array(["few"] * 3 + ["many/most"] * 5 + [np.nan], object)
    scfm.tl.embed_genes(adata, model=model, kind="contextual", groupby="kind", batch_size=2)
    alone = []
    for i in range(adata.n_obs):
        one = adata[[i]].copy()
        scfm.tl.embed_genes(one, model=model, kind="contextual")
        alone.append(one.varm["X_tiny_genes"])
    for group, cells in {None: slice(0, 9), "few": slice(0, 3), "many/most": slice(3, 8)}.items():
        found = scfm.get.gene_embedding(adata, group, key="X_tiny_genes")
        vectors = np.array(alone[cells])
        n_cells = np.isfinite(vectors[..., 0]).sum(axis=0)
        expected = np.nansum(vectors, axis=0)[n_cells > 0] / n_cells[n_cells > 0, None]
        assert list(found.index) == list(adata.var_names[n_cells > 0])
        np.testing.assert_allclose(found.to_numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"groupby": "kind"}, "kind='static' with groupby='kind'"),
        ({"kind": "contextual", "groupby": "absent"}, "groupby='absent' is not in adata.obs"),
        ({"kind": "contextual", "output_layer": -4}, "output_layer=-4; expected -1"),
        ({"kind": "contextual", "model": "scfm-mini"}, "scfm-mini gives cell, expression; it was asked for gene"),
    ],
)
def test_wrong_argument_is_one_clear_error(model: CellModel, arguments: dict[str, Any], message: str) -> None:
    adata = small_counts(3)
    adata.obs["kind"] = "one"
    with pytest.raises(ScfmError, match=message):
        scfm.tl.embed_genes(adata, **{"model": model} | arguments)
    assert not adata.varm


def test_group_that_is_not_there_is_an_error_that_lists_the_groups(model: CellModel) -> None:
    adata = small_counts(3)
    with pytest.raises(MissingKeyError, match=r"varm\['X_tiny_genes'\] was not written by tl.embed_genes"):
        scfm.get.gene_embedding(adata, key="X_tiny_genes")
    scfm.tl.embed_genes(adata, model=model)
    with pytest.raises(InputError, match="group='T'; the groups of 'X_tiny_genes' are none"):
        scfm.get.gene_embedding(adata, "T", key="X_tiny_genes")


def test_static_vectors_are_the_models_own(model: CellModel) -> None:
    adata = small_counts(5)
    scfm.tl.embed_genes(adata, model=model)
    found = scfm.get.gene_embedding(adata, key="X_tiny_genes")
    np.testing.assert_array_equal(found.loc[model.spec.genes].to_numpy(), model.gene_vectors())


def test_its_layers_are_counted_from_the_end(model: CellModel) -> None:
    adata = small_counts(4)
    position = np.array([list(model.spec.genes).index(g) if g in model.spec.genes else -1 for g in adata.var_names])
    columns = Columns(position.astype(np.int32), np.ones(adata.n_vars, bool), 0.0)
    tokens = model.tokenizer(columns)(adata.X)
    cpu = torch.device("cpu")
    inputs = model.encode(tokens, Wanted(frozenset({"gene"}), layer=-3), device=cpu, dtype=torch.float32).gene
    assert inputs is not None
    own = torch.from_numpy(model.gene_vectors())[inputs.gene] * torch.from_numpy(tokens.values)[:, None]
    torch.testing.assert_close(inputs.values, own)
