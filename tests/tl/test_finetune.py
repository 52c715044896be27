"""``tl.finetune``: one call, and a model for every verb."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, ModelMismatchError
from scfm_scverse.models import create
from support import FAST, GENES, TINY, two_types

if TYPE_CHECKING:
    from anndata import AnnData

    from scfm_scverse import FoundationModel

MODELS = ("scfm-mini", pytest.param("scgpt", marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=MODELS)
def tuned(request: pytest.FixtureRequest) -> FoundationModel:
    """A model fine-tuned on two kinds of cells."""
    start = "scfm-mini" if request.param == "scfm-mini" else create("scgpt", GENES, **TINY)
    return scfm.tl.finetune(two_types(120), labels_key="kind", model=start, max_epochs=8, **FAST)


@pytest.fixture
def other() -> AnnData:
    """Other cells of the same kinds."""
    return two_types(40, seed=1)


def test_labels_of_other_cells_are_told(tuned: FoundationModel, other: AnnData) -> None:
    assert np.mean(tuned.predict(other) == other.obs["kind"]) > 0.9


def test_fine_tuned_weights_are_another_model(tuned: FoundationModel, other: AnnData) -> None:
    start = "scfm-mini" if tuned.cell_model.spec.name == "scfm-mini" else create("scgpt", GENES, **TINY)
    scfm.tl.embed(other, model=start)
    with pytest.raises(ModelMismatchError, match="Pass key_added="):
        scfm.tl.embed(other, model=tuned)
    scfm.tl.embed(other, model=tuned, key_added="X_tuned")
    key = tuned.cell_model.spec.key_added
    assert np.abs(other.obsm["X_tuned"] - other.obsm[key]).max() > 1e-3


def test_cells_are_annotated_by_a_reference_of_it(tuned: FoundationModel, other: AnnData) -> None:
    reference = scfm.tl.build_reference(two_types(120), labels_key="kind", model=tuned)
    scfm.tl.annotate(other, reference=reference, model=tuned)
    assert np.mean(other.obs["scfm_cell_type"] == other.obs["kind"]) > 0.9


def test_genes_are_perturbed_in_it(tuned: FoundationModel, other: AnnData) -> None:
    scfm.tl.perturb(other, "CD79A", model=tuned, genes_out=5)
    table = scfm.tl.rank_perturbations(other, ["CD79A", "CD3D", "VIM"], model=tuned, max_cells=20, n_null=20)
    assert set(table["perturbation"]) == {"CD79A", "CD3D", "VIM"}


def test_its_genes_are_embedded(tuned: FoundationModel, other: AnnData) -> None:
    scfm.tl.embed_genes(other, model=tuned)
    key = next(iter(other.varm))
    assert len(other.varm[key]) == other.n_vars


def test_fewer_than_two_labels_are_refused() -> None:
    adata = two_types()
    adata.obs["kind"] = "B cell"
    with pytest.raises(InputError, match="Found 1 classes of cells; expected two"):
        scfm.tl.finetune(adata, labels_key="kind")
