"""``tl.perturb``: what it reads, where it writes, what a second call does; with the model of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import GeneMatchError, InputError, ModelMismatchError
from scfm_scverse._record import read_record, record
from scfm_scverse.genes import load_gene_table
from scfm_scverse.perturbation import Kind
from support import GENES, small_counts
from test_all_models import STORES

DOSES: dict[Kind, float] = {"delete": 1, "inhibit": 0.4, "activate": 3, "overexpress": 1}


def perturbed(adata: AnnData, genes: str | tuple[str, ...] = "LYZ", **arguments: Any) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and effect after a perturbation."""
    scfm.tl.perturb(adata, genes, **arguments)
    return np.asarray(adata.obsm["X_scfm_perturbed"]), adata.obs["scfm_effect"].to_numpy()


def embedding(adata: AnnData, **arguments: Any) -> np.ndarray:
    scfm.tl.embed(adata, key_added="X_test", dtype="float32", **arguments)
    return np.asarray(adata.obsm["X_test"])


def with_counts(adata: AnnData, counts: np.ndarray) -> AnnData:
    """The same cells and genes around other values, nothing computed yet."""
    return AnnData(sp.csr_matrix(counts), adata.obs[[]], adata.var)


def log_of(counts: np.ndarray) -> np.ndarray:
    return np.asarray(np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4))


def test_deleted_gene_of_real_cells_is_as_if_it_had_not_been_measured_in_them(
    read_cells: Callable[[str], AnnData],
) -> None:
    adata = read_cells("kang_ifnb_pbmc")[::6].copy()
    found, effect = perturbed(adata, ("ISG15", "CD3D"), genes_out=30)
    counts = adata.X.copy().tolil()
    genes = adata.var_names.get_indexer(["ISG15", "CD3D"])
    counts[:, genes] = 0
    expected = embedding(AnnData(counts.tocsr(), adata.obs, adata.var))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    held = adata.X[:, genes].toarray().any(axis=1)
    assert 100 < held.sum() < adata.n_obs
    assert (effect[held] > 0).all()
    assert (effect[~held] == 0).all()
    np.testing.assert_array_equal(found[~held], adata.obsm["X_scfm"][~held])
    cosine = (found.astype(np.float64) * adata.obsm["X_scfm"]).sum(axis=1)
    np.testing.assert_allclose(effect, 1 - cosine, rtol=0, atol=1e-6)


@pytest.mark.parametrize("store", STORES)
def test_result_does_not_depend_on_how_the_matrix_is_stored(store: str, tmp_path: Path) -> None:
    expected = small_counts()
    perturbed(expected, genes_out=12)
    stored = STORES[store](small_counts(), tmp_path)
    found, effect = perturbed(stored, genes_out=12)
    np.testing.assert_array_equal(found, expected.obsm["X_scfm_perturbed"])
    np.testing.assert_array_equal(effect, expected.obs["scfm_effect"])
    delta = stored.layers["scfm_delta"]
    assert delta.shape == stored.shape
    np.testing.assert_array_equal(delta.toarray(), expected.layers["scfm_delta"].toarray())


@pytest.mark.parametrize("block_size", [1, 7])
def test_result_does_not_depend_on_the_size_of_a_block(block_size: int) -> None:
    expected, other = small_counts(), small_counts()
    perturbed(expected)
    with scfm.settings.override(block_size=block_size):
        np.testing.assert_array_equal(perturbed(other)[0], expected.obsm["X_scfm_perturbed"])


def test_more_cells_than_are_read_together_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, other = small_counts(), small_counts()
    perturbed(expected)
    monkeypatch.setattr("scfm_scverse.tl._perturb_cells.CELLS_AT_ONCE", 4)
    monkeypatch.setattr("scfm_scverse.tl._perturb_cells.MINIBATCH", 3)
    np.testing.assert_allclose(perturbed(other)[0], expected.obsm["X_scfm_perturbed"], rtol=0, atol=1e-6)
    difference = other.layers["scfm_delta"] - expected.layers["scfm_delta"]
    assert np.abs(difference.toarray()).max() < 1e-5


def measured_so(counts: np.ndarray, columns: list[int], kind: Kind) -> np.ndarray:
    """Values with a perturbed gene, whose columns these are, at the doses of ``DOSES``."""
    expected = counts.astype(np.float64)
    expected[:, columns] *= {"delete": 0, "inhibit": 0.6, "activate": 4, "overexpress": 0}[kind]
    if kind == "overexpress":
        expected[:, columns[0]] = counts.max(axis=1)
    return expected


@pytest.mark.parametrize("base", [np.e, 2.0])
@pytest.mark.parametrize("kind", DOSES)
def test_doses_of_logarithms_are_those_of_linear_values(kind: Kind, base: float) -> None:
    adata = small_counts()
    logs = log_of(adata.X.toarray()) / np.log(base)
    found, _ = perturbed(with_counts(adata, logs), kind=kind, dose=DOSES[kind])
    expected = measured_so(np.expm1(logs * np.log(base)), [adata.var_names.get_loc("LYZ")], kind)
    np.testing.assert_allclose(found, embedding(with_counts(adata, expected), normalized=False), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", DOSES)
@pytest.mark.parametrize("second", ["CD74", "ENSG00000019582", "DHLAG"], ids=["same name", "Ensembl id", "alias"])
@pytest.mark.filterwarnings("ignore:Variable names are not unique:UserWarning")
def test_all_columns_of_a_gene_are_perturbed(kind: Kind, second: str) -> None:
    counts = small_counts().X.toarray()
    columns = [GENES.index("CD74"), GENES.index("HBB")]
    counts[::3, columns[0]] = 0  # held in the other column alone
    var = pd.DataFrame(index=[second if name == "HBB" else name for name in GENES])
    adata, expected = (AnnData(sp.csr_matrix(x), var=var) for x in (counts, measured_so(counts, columns, kind)))
    found, effect = perturbed(adata, "CD74", kind=kind, dose=DOSES[kind])
    np.testing.assert_allclose(found, embedding(expected, normalized=False), rtol=0, atol=1e-6)
    assert (np.asarray(effect != 0) <= (counts[:, columns].any(axis=1) | (kind == "overexpress"))).all()
    assert (effect[counts[:, columns[1]] > 0] > 0).any()
    assert not adata.layers["scfm_delta"][:, columns].nnz


@pytest.mark.parametrize("name", ["CD74", "ENSG00000019582", "DHLAG", "CD74+ctrl", "ctrl+CD74", ("CD74",)])
def test_gene_may_have_any_of_its_names(name: str | tuple[str, ...]) -> None:
    expected, adata = small_counts(), small_counts()
    perturbed(expected, "CD74")
    np.testing.assert_array_equal(perturbed(adata, name)[0], expected.obsm["X_scfm_perturbed"])


def test_gene_may_be_named_as_the_data_names_it_or_by_its_symbol() -> None:
    expected, adata = small_counts(), small_counts()
    perturbed(expected)
    table = load_gene_table()
    adata.var["symbol"] = adata.var_names
    adata.var_names = [f"{table.ensembl[table.row_of_symbol[name]]}.{i % 7}" for i, name in enumerate(GENES)]
    for name in ("LYZ", "ENSG00000090382", adata.var_names[GENES.index("LYZ")]):
        np.testing.assert_array_equal(perturbed(adata, name)[0], expected.obsm["X_scfm_perturbed"])
    adata.var_names = [f"gene{i}" for i in range(adata.n_vars)]
    scfm.tl.perturb(adata, "LYZ", gene_symbols="symbol")
    np.testing.assert_array_equal(adata.obsm["X_scfm_perturbed"], expected.obsm["X_scfm_perturbed"])


def test_genes_of_mice_are_perturbed_by_their_own_names_or_those_of_their_human_orthologs() -> None:
    found = []
    for name in ("Cd74", "CD74", "ENSMUSG00000024610"):
        adata = small_counts()
        adata.var_names = [name.capitalize() for name in GENES]
        found.append(perturbed(adata, name)[0])
    assert (adata.obs["scfm_effect"] > 0).any()
    for one in found[1:]:
        np.testing.assert_array_equal(one, found[0])


@pytest.mark.parametrize("genes", [("LYZ", "CD8A"), "LYZ+CD8A", "CD8A+LYZ", " LYZ + CD8A "])
def test_genes_that_are_deleted_together_go_from_cells_that_hold_only_one_of_them(genes: str | tuple[str, ...]) -> None:
    adata = small_counts()
    counts = adata.X.toarray()
    columns = adata.var_names.get_indexer(["LYZ", "CD8A"])
    counts[:10, columns] = [[3, 0]]
    counts[10:20, columns] = [[0, 2]]
    counts[20:25, columns] = 0
    deleted = counts.copy()
    deleted[:, columns] = 0
    found, effect = perturbed(with_counts(adata, counts), genes)
    np.testing.assert_allclose(found, embedding(with_counts(adata, deleted)), rtol=0, atol=1e-6)
    assert (effect[:20] > 0).all()
    assert (effect[20:25] == 0).all()


def test_raw_is_read_and_what_is_written_fits_the_genes_of_x() -> None:
    whole = small_counts()
    expected, effect = perturbed(whole, genes_out=len(GENES))
    adata = small_counts()
    adata.raw = adata
    shown = [name for name in GENES[::-1] if name not in {"LYZ", "CD74"}]
    adata = adata[:, shown].copy()
    adata.X = adata.X.toarray() - 3.5  # scaled
    found, found_effect = perturbed(adata, genes_out=len(GENES))
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found_effect, effect)
    assert read_record(adata, "perturb", "scfm")["values"] == "raw.X"
    delta = adata.layers["scfm_delta"]
    assert delta.shape == adata.shape
    np.testing.assert_array_equal(delta.toarray(), whole[:, shown].layers["scfm_delta"].toarray())
    assert delta.nnz > 100


def test_cells_without_counts_and_those_that_lose_their_only_gene_have_no_effect() -> None:
    adata = small_counts()
    counts = adata.X.toarray()
    counts[:3] = 0
    counts[1:3, adata.var_names.get_loc("LYZ")] = 5
    adata = with_counts(adata, counts)
    found, effect = perturbed(adata)
    assert np.isnan(found[:3]).all()
    assert np.isnan(effect[:3]).all()
    assert np.isfinite(found[3:]).all()
    assert not adata.layers["scfm_delta"][:3].nnz
    n_held = int((counts[3:, adata.var_names.get_loc("LYZ")] > 0).sum())
    table = scfm.get.perturbation_effect(adata)
    assert table["n_affected"].tolist() == [n_held + 2]
    assert table["mean_effect"][0] == pytest.approx(effect[3:].sum() / n_held)


def test_all_cells_may_lose_their_only_gene() -> None:
    adata = small_counts()
    counts = adata.X.toarray()
    lyz = adata.var_names.get_loc("LYZ")
    alone = counts[:, lyz] > 0
    counts[np.ix_(alone, np.arange(adata.n_vars) != lyz)] = 0
    adata = with_counts(adata, counts)
    found, effect = perturbed(adata)
    np.testing.assert_array_equal(np.isnan(effect), alone)
    np.testing.assert_array_equal(np.isnan(found).all(axis=1), alone)
    assert adata.layers["scfm_delta"].nnz == 0
    assert np.isnan(scfm.get.perturbation_effect(adata)["mean_effect"][0])


def test_second_perturbation_takes_the_place_of_the_first() -> None:
    adata, fresh = small_counts(), small_counts()
    perturbed(adata, "LYZ")
    first = adata.obs["scfm_effect"].to_numpy()
    perturbed(adata, "CD74", kind="inhibit", dose=0.5, genes_out=0)
    perturbed(fresh, "CD74", kind="inhibit", dose=0.5, genes_out=0)
    assert "scfm_delta" not in adata.layers  # that of LYZ
    np.testing.assert_array_equal(adata.obs["scfm_effect"], fresh.obs["scfm_effect"])
    assert not np.array_equal(adata.obs["scfm_effect"], first)
    assert read_record(adata, "perturb", "scfm") == read_record(fresh, "perturb", "scfm")
    perturbed(adata, "LYZ", key_added="mine")
    np.testing.assert_array_equal(adata.obs["mine_effect"], first)
    assert {"X_scfm", "X_scfm_perturbed", "X_mine_perturbed"} == set(adata.obsm)


def test_result_of_another_model_stays() -> None:
    adata = small_counts()
    perturbed(adata)
    made = read_record(adata, "perturb", "scfm")
    record(adata, "perturb", "scfm", made | {"model_id": "another-1:0"})
    before = adata.obsm["X_scfm_perturbed"].copy()
    with pytest.raises(ModelMismatchError, match=r"written with model another-1:0; expected scfm-mini.*key_added="):
        scfm.tl.perturb(adata, "CD74")
    np.testing.assert_array_equal(adata.obsm["X_scfm_perturbed"], before)


@pytest.mark.parametrize(
    ("attr", "slot"), [("obsm", "X_scfm_perturbed"), ("obs", "scfm_effect"), ("layers", "scfm_delta")]
)
def test_columns_and_layers_of_the_user_stay(attr: str, slot: str) -> None:
    adata = small_counts()
    mine = {"obsm": np.ones((30, 2)), "obs": np.ones(30), "layers": sp.csr_matrix(adata.shape)}[attr]
    getattr(adata, attr)[slot] = mine
    with pytest.raises(InputError, match=rf'adata.{attr}\["{slot}"\], which perturb did not write; .* key_added='):
        scfm.tl.perturb(adata, "LYZ")
    assert not adata.uns
    assert (getattr(adata, attr)[slot] != mine).sum() == 0


def test_view_becomes_actual_and_a_copy_leaves_the_original() -> None:
    adata = small_counts()
    copied = scfm.tl.perturb(adata, "LYZ", copy=True)
    assert copied is not None
    assert not {*adata.obsm, *adata.layers, *adata.obs, *adata.uns}
    view = small_counts(60)[30:]
    scfm.tl.perturb(view, "LYZ")
    assert not view.is_view
    other = small_counts(60)
    scfm.tl.perturb(other, "LYZ")
    np.testing.assert_array_equal(view.obsm["X_scfm_perturbed"], other.obsm["X_scfm_perturbed"][30:])
    assert scfm.tl.perturb(adata, "LYZ") is None
    np.testing.assert_array_equal(copied.obs["scfm_effect"], adata.obs["scfm_effect"])


def test_embedding_that_was_made_in_the_same_way_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from support import embedded_again

    adata = small_counts()
    adata.layers["counts"] = adata.X.copy()
    scfm.tl.embed(adata, layer="counts", organism="human")
    monkeypatch.setattr("scfm_scverse.tl._perturbation.embed", embedded_again)
    scfm.tl.perturb(adata, "LYZ", layer="counts")
    assert read_record(adata, "perturb", "scfm")["embedding_key"] == "X_scfm"


@pytest.mark.parametrize("other", [{"layer": "thinned"}, {"dtype": "bfloat16"}])
def test_embedding_that_was_made_in_another_way_stays_beside_that_of_the_cells_as_they_are(
    other: dict[str, Any],
) -> None:
    adata, fresh = small_counts(), small_counts()
    adata.layers["thinned"] = sp.csr_matrix(np.random.default_rng(0).binomial(adata.X.toarray().astype(int), 0.5))
    scfm.tl.embed(adata, **other)
    before = adata.obsm["X_scfm"].copy()
    found, _ = perturbed(adata)
    np.testing.assert_array_equal(found, perturbed(fresh)[0])
    np.testing.assert_array_equal(adata.obsm["X_scfm"], before)
    np.testing.assert_array_equal(adata.obsm["X_scfm_unperturbed"], fresh.obsm["X_scfm"])
    assert read_record(adata, "perturb", "scfm")["embedding_key"] == "X_scfm_unperturbed"


def test_record_says_how_it_was_made() -> None:
    adata = small_counts()
    adata.obs["kind"] = pd.Categorical(np.where(np.arange(30) < 10, "few", "T/NK"), ["few", "T/NK", "none"])
    scfm.tl.perturb(adata, ("LYZ", "CD8A"), kind="inhibit", dose=0.5, groupby="kind", genes_out=["CD74", "B2M"])
    made = read_record(adata, "perturb", "scfm")
    expected = {
        "genes": ["LYZ", "CD8A"],
        "kind": "inhibit",
        "dose": 0.5,
        "model": "scfm-mini",
        "model_id": scfm.models.load("scfm-mini").spec.id,
        "embedding_key": "X_scfm",
        "values": "X",
        "n_cells": 30,
        "groupby": "kind",
        "groups": ["few", "T/NK"],
        "group_cells": [10, 20],
        "dtype": "float32",
    }
    assert {name: made[name] for name in expected} == expected
    assert sorted(made["genes_out"]) == ["B2M", "CD74"]


@pytest.mark.filterwarnings("ignore:Writing zarr v2 data will no longer be the default:UserWarning")
@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_result_survives_anndatas_own_files_and_can_be_overwritten_afterwards(tmp_path: Path, suffix: str) -> None:
    adata = small_counts()
    adata.obs["kind"] = np.where(np.arange(30) < 10, "few", "T/NK")
    scfm.tl.perturb(adata, "LYZ", groupby="kind")
    path = tmp_path / f"cells.{suffix}"
    write: Callable[[Path], None] = adata.write_h5ad if suffix == "h5ad" else adata.write_zarr
    write(path)
    found = anndata.read_h5ad(path) if suffix == "h5ad" else anndata.read_zarr(path)
    assert read_record(found, "perturb", "scfm") == read_record(adata, "perturb", "scfm")
    assert scfm.get.perturbation_effect(found).equals(scfm.get.perturbation_effect(adata))
    np.testing.assert_array_equal(found.obsm["X_scfm_perturbed"], adata.obsm["X_scfm_perturbed"])
    np.testing.assert_array_equal(found.obs["scfm_effect"], adata.obs["scfm_effect"])
    np.testing.assert_array_equal(found.layers["scfm_delta"].toarray(), adata.layers["scfm_delta"].toarray())
    scfm.tl.perturb(found, "CD74")
    assert read_record(found, "perturb", "scfm")["genes"] == ["CD74"]


def test_gene_that_no_cell_expresses_can_be_overexpressed_only() -> None:
    adata = small_counts()
    counts = adata.X.toarray()
    counts[:, adata.var_names.get_loc("LYZ")] = 0
    adata = with_counts(adata, counts)
    for kind in ("delete", "inhibit", "activate"):
        with pytest.raises(GeneMatchError, match=f"'LYZ' expressed in no cell, so that kind='{kind}' changes none"):
            scfm.tl.perturb(adata, "LYZ", kind=kind, dose=0.5 if kind == "inhibit" else 1)
    assert not adata.obsm
    assert (perturbed(adata, kind="overexpress")[1] > 0).all()
