"""Every family trains for what its name stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import scfm_scverse as scfm
from scfm_scverse import FoundationModel
from scfm_scverse._errors import InputError
from scfm_scverse.foundation.objectives import PRETRAINING
from scfm_scverse.training import objectives
from support import FAST, tiny_foundation, two_types

FAMILIES: dict[str, dict[str, Any]] = {
    "scgpt": {"n_layers": 1, "n_heads": 2, "max_length": 64},
    "geneformer": {"n_layers": 1, "n_heads": 2},
    "scbert": {"n_layers": 1, "n_heads": 2, "dim_head": 8},
    "scfoundation": {"n_layers": 1, "n_heads": 2, "decoder_dim": 16, "decoder_layers": 1, "decoder_heads": 2},
    "scfm-latent": {"n_layers": 1, "n_heads": 2, "n_latents": 4, "n_reads": 1},
    "scfm-mini": {},
}


def test_every_objective_of_pretraining_is_there() -> None:
    assert {name.lower() for name in PRETRAINING} == set(FAMILIES)
    assert set(PRETRAINING.values()) <= set(objectives.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", FAMILIES)
def test_every_family_pretrains_then_learns_types(architecture: str, tmp_path: Any) -> None:
    adata = two_types(100)
    FoundationModel.setup_anndata(adata, labels_key="kind")
    model = FoundationModel(adata, architecture, dim=16, **FAMILIES[architecture])
    model.train(2, objective="pretraining", **FAST)
    assert np.isfinite(model.history["validation_loss"]).all(axis=None)
    model.train(10, **FAST)
    other = two_types(80, seed=1)
    assert np.mean(model.predict(other) == other.obs["kind"]) > 0.9
    model.save(tmp_path / "model")
    back = FoundationModel.load(tmp_path / "model")
    np.testing.assert_array_equal(back.predict(other, soft=True), model.predict(other, soft=True))


def test_integration_reads_the_batches_of_cells() -> None:
    model = tiny_foundation(labels_key=None, batch_key="batch")
    model.train(1, objective="integration", **FAST)
    assert {"train_batches", "train_similarity", "train_expression"} <= set(model.history)
    adata = two_types()
    vectors = model.get_latent_representation(adata)
    with pytest.raises(InputError, match="get_latent_representation of the FoundationModel"):
        scfm.tl.embed(adata, model=model)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    adata.obs["batch"] = adata.obs["batch"].map({"one": "two", "two": "one"})
    assert np.abs(model.get_latent_representation(adata) - vectors).max() > 1e-3


@pytest.mark.slow
def test_an_objective_of_ones_own_is_taken() -> None:
    model = tiny_foundation()
    model.train(1, objective=objectives.Joint(objectives.MaskedExpression(), objectives.CellTypes(2)), **FAST)
    assert {"train_cell_types", "train_expression"} <= set(model.history)
    assert model.labels_ == ["B cell", "T/NK cell"]


def test_batches_that_were_never_learnt_are_told() -> None:
    model = tiny_foundation(labels_key=None, batch_key="batch")
    model.train(1, objective="integration", **FAST)
    adata = two_types()
    adata.obs.loc[adata.obs_names[:5], "batch"] = None
    with pytest.raises(InputError, match="Found 5 cells of no batch"):
        model.get_latent_representation(adata)
    adata.obs["batch"] = "three"
    with pytest.raises(InputError, match="Found 60 cells of a new batch"):
        FoundationModel.load_query_data(adata, model).get_latent_representation()
