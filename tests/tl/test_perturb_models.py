"""``tl.perturb`` with every model: what it says of a perturbed cell is what the model says of one measured so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse.io.files import read_adata, write_adata
from scfm_scverse.models import CellModel
from scfm_scverse.perturbation import Kind
from support import GENES
from test_all_models import CHECKPOINTS, REGISTERED, cells_of_all_depths

EMPTY, ONLY_IL7R = 14, 15  # cells that stand behind the others
EVERY = [*REGISTERED, *CHECKPOINTS]
CASES: list[tuple[Kind, float, tuple[str, ...]]] = [
    ("delete", 1, ("IL7R",)),
    ("delete", 1, ("IL7R", "CCR7")),
    ("inhibit", 0.98, ("IL7R", "CCR7")),
    ("activate", 2.5, ("IL7R",)),
    ("overexpress", 1, ("IL7R", "CCR7")),
]
every_model = pytest.mark.parametrize("model", EVERY, indirect=True)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks gain nothing by threads, which wait for each other where others compute too."""
    with scfm.settings.override(n_jobs=1):
        yield


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint of each layout, with few random weights."""
    from random_checkpoints import TINY, write_checkpoint

    folder = tmp_path_factory.mktemp("perturbed")
    return {layout: write_checkpoint(layout, folder / layout, GENES) for layout in TINY}


@pytest.fixture(scope="module", params=EVERY)
def model(request: pytest.FixtureRequest, paths: dict[str, Path]) -> CellModel:
    if request.param in REGISTERED:
        return scfm.models.load(request.param)
    layout, options = CHECKPOINTS[request.param]
    # What is drawn for a copy is drawn as for its cell, which embedding the edited counts would not do.
    drawn_by_none = {"ties": "middle"} if layout == "scgpt" else {}
    return scfm.models.load(paths[layout], **options, **drawn_by_none)


def cells() -> AnnData:
    """Cells of very different depth, one without counts and one with a single gene."""
    adata = cells_of_all_depths()[:EMPTY].copy()
    few = np.zeros((2, adata.n_vars), np.float32)
    few[1, adata.var_names.get_loc("IL7R")] = 7
    added = AnnData(sp.csr_matrix(few), var=adata.var)
    added.obs_names = ["empty", "only IL7R"]
    return anndata.concat([adata, added])


def edited(adata: AnnData, genes: tuple[str, ...], kind: Kind, dose: float) -> AnnData:
    """The cells as if they had been measured so, gene by gene and cell by cell."""
    counts = adata.X.toarray().astype(np.float64)
    largest = counts.max(axis=1)
    for gene in genes:
        column = adata.var_names.get_loc(gene)
        for cell in range(adata.n_obs):
            value = counts[cell, column]
            changed = {
                "delete": 0.0,
                "inhibit": value * (1 - dose),
                "activate": value * (1 + dose),
                "overexpress": largest[cell],
            }
            counts[cell, column] = changed[kind]
    return AnnData(sp.csr_matrix(counts), adata.obs, adata.var)


def embedding(adata: AnnData, model: CellModel, **arguments: Any) -> np.ndarray:
    scfm.tl.embed(adata, model=model, key_added="X_test", normalized=False, dtype="float32", **arguments)
    return np.asarray(adata.obsm.pop("X_test"))


def effects(after: np.ndarray, before: np.ndarray) -> np.ndarray:
    """1 - cosine of each row, in float64."""
    one, other = (x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1)[:, None] for x in (after, before))
    return np.asarray(1 - (one * other).sum(axis=1))


def assert_same(found: np.ndarray, expected: np.ndarray, model: CellModel) -> None:
    """Compare; sums of attention round a little differently in other company."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 if model.spec.n_layers else 1e-6)


@pytest.mark.parametrize(
    ("kind", "dose", "genes"), [CASES[0], *(pytest.param(*one, marks=pytest.mark.slow) for one in CASES[1:])], ids=str
)
@every_model
def test_perturbed_cell_is_embedded_as_if_measured_so(
    model: CellModel, kind: Kind, dose: float, genes: tuple[str, ...]
) -> None:
    if model.spec.edits_tokens and kind in {"delete", "overexpress"}:
        return  # Geneformer edits tokens there, see test_perturb_geneformer.py
    adata = cells()
    scfm.tl.perturb(adata, genes, kind=kind, dose=dose, model=model, genes_out=0)
    before, after = adata.obsm[model.spec.key_added], adata.obsm["X_scfm_perturbed"]
    effect = adata.obs["scfm_effect"].to_numpy()
    assert after.dtype == effect.dtype == np.float32
    expected = embedding(edited(adata, genes, kind, dose), model)
    assert_same(after, expected, model)
    assert np.isnan(after[EMPTY]).all()
    assert np.isnan(after[ONLY_IL7R]).all() == (kind == "delete")
    held = adata[:, list(genes)].X.toarray().any(axis=1) | (kind == "overexpress")
    same = ~held & (np.arange(adata.n_obs) != EMPTY)
    assert same.any() or kind == "overexpress"
    assert (effect[same] == 0).all()
    np.testing.assert_array_equal(after[same], before[same])
    assert np.isnan(effect[EMPTY])
    if not model.spec.compares_genes:
        np.testing.assert_allclose(effect[held], effects(expected, before)[held], rtol=0, atol=2e-6)
    if model.spec.name != "scBERT" or kind != "activate":  # its highest bin begins low
        assert (effect[:EMPTY][held[:EMPTY]] > 0).any()


@pytest.mark.slow
@every_model
def test_result_does_not_depend_on_the_other_cells_nor_on_the_size_of_a_minibatch(model: CellModel) -> None:
    order = np.random.default_rng(0).permutation(ONLY_IL7R + 1)
    for kind in ("delete", "overexpress"):
        adata = cells()
        whole = adata.copy()
        scfm.tl.perturb(whole, "CCR7", kind=kind, model=model)
        for rows, batch_size in ((order, None), (np.arange(adata.n_obs), 3), (order[:9], 1)):
            other = adata[rows].copy()
            scfm.tl.perturb(other, "CCR7", kind=kind, model=model, batch_size=batch_size)
            same = whole[rows]
            assert_same(other.obsm["X_scfm_perturbed"], same.obsm["X_scfm_perturbed"], model)
            np.testing.assert_allclose(other.obs["scfm_effect"], same.obs["scfm_effect"], rtol=0, atol=2e-6)


@every_model
def test_what_is_written_survives_files_with_expression_where_the_model_decodes_it(
    model: CellModel, tmp_path: Path
) -> None:
    adata = cells()
    scfm.tl.perturb(adata, "IL7R", model=model, genes_out=10)
    assert ("scfm_delta" in adata.layers) == ("expression" in model.spec.outputs)
    write_adata(adata, tmp_path / "cells.h5ad")
    found = read_adata(tmp_path / "cells.h5ad")
    np.testing.assert_array_equal(found.obsm["X_scfm_perturbed"], adata.obsm["X_scfm_perturbed"])
    np.testing.assert_array_equal(found.obs["scfm_effect"], adata.obs["scfm_effect"])
    assert scfm.get.perturbation_effect(found).equals(scfm.get.perturbation_effect(adata))
    if "scfm_delta" not in adata.layers:
        return
    delta = adata.layers["scfm_delta"]
    assert (found.layers["scfm_delta"] != delta).nnz == 0
    assert sp.issparse(delta)
    assert delta.dtype == np.float32
    assert delta.shape == adata.shape
    columns = np.unique(delta.indices)
    assert 5 < len(columns) <= 10
    assert adata.var_names.get_loc("IL7R") not in columns
    changed = np.flatnonzero(np.diff(delta.indptr))
    holders = np.flatnonzero(adata[:, "IL7R"].X.toarray().ravel())
    assert set(changed.tolist()) == set(holders.tolist()) - {ONLY_IL7R}


@pytest.mark.parametrize("model", CHECKPOINTS, indirect=True)
def test_layer_and_pooling_are_read_as_embed_reads_them(model: CellModel) -> None:
    for arguments in ({"output_layer": -1 - model.spec.n_layers}, {"pooling": model.spec.poolings[-1]}):
        if "output_layer" in arguments and "expression" in model.spec.outputs:
            arguments |= {"genes_out": 0}
        adata = cells()
        scfm.tl.perturb(adata, "IL7R", kind="inhibit", dose=0.3, model=model, **arguments)
        arguments.pop("genes_out", None)
        expected = embedding(edited(adata, ("IL7R",), "inhibit", 0.3), model, **arguments)
        assert_same(adata.obsm["X_scfm_perturbed"], expected, model)
        np.testing.assert_array_equal(adata.obsm["X_scfm_unperturbed"], embedding(adata, model, **arguments))
        assert model.spec.key_added not in adata.obsm


@pytest.mark.parametrize("model", ["scFoundation, cell"], indirect=True)
def test_totals_of_a_cell_are_read_before_and_after(model: CellModel) -> None:
    adata = cells()
    adata.obs["total"] = np.asarray(adata.X.sum(axis=1)).ravel() * 3 + 5
    scfm.tl.perturb(adata, "IL7R", model=model, total_key="total")
    expected = embedding(edited(adata, ("IL7R",), "delete", 1), model, total_key="total")
    assert_same(adata.obsm["X_scfm_perturbed"], expected, model)
    assert not np.allclose(embedding(adata, model), embedding(adata, model, total_key="total"), equal_nan=True)
    held = adata.obs["scfm_effect"].to_numpy() != 0
    np.testing.assert_array_equal(adata.obsm["X_scFoundation"][~held], adata.obsm["X_scfm_perturbed"][~held])
