"""``tl.rank_perturbations``: what a row depends on, what it does not, and what it is written as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from anndata import AnnData, read_h5ad
from scipy.stats import false_discovery_control

import scfm_scverse as scfm
from scfm_scverse._errors import ModelMismatchError
from scfm_scverse.io.files import read_adata, write_adata
from support import embedded_again

ASKED = ["ISG15", "FTL", "IFI6", "B2M", "LYZ", "CCR7"]
STATES = {"state_key": "condition", "start": "control", "goal": "IFN-beta"}
SMALL: dict[str, Any] = {"max_cells": 25, "n_null": 30, "min_cells": 5}
SHARED = ["p_value", "fdr", "z"]  # of the whole table, or of numbers that roundings change


@pytest.fixture(scope="session")
def stored(read_cells: Callable[[str], AnnData]) -> AnnData:
    """Two types of real cells in two states, and the genes that most of them express."""
    adata = read_cells("kang_ifnb_pbmc")
    by = adata.obs.groupby(["cell_type", "condition"], observed=True).cumcount().to_numpy()
    adata = adata[(by < 35) & adata.obs["cell_type"].isin(["CD14 Mono", "CD4 Naive T", "B"]).to_numpy()]
    adata = adata[:, np.asarray((adata.X > 0).sum(axis=0)).ravel() >= 15].copy()
    adata.obs["cell_type"] = adata.obs["cell_type"].cat.remove_unused_categories()
    scfm.tl.embed(adata)
    return adata


@pytest.fixture
def cells(stored: AnnData) -> AnnData:
    return stored.copy()


def rank(adata: AnnData, genes: Any = ASKED, **arguments: Any) -> pd.DataFrame:
    return scfm.tl.rank_perturbations(adata, genes, **{**SMALL, **arguments})


def assert_same(found: pd.DataFrame, expected: pd.DataFrame, *, without: Sequence[str] = ("fdr",)) -> None:
    """Compare by perturbation, group and dose; models round a little differently in other company."""
    keys = ["perturbation", "group", "dose"]
    one, other = (table.drop(columns=list(without)).sort_values(keys, ignore_index=True) for table in (found, expected))
    pd.testing.assert_frame_equal(one, other, rtol=1e-4, atol=2e-7)


def test_table_has_one_row_a_perturbation_strongest_first(cells: AnnData) -> None:
    table = rank(cells, groupby="cell_type", **STATES)
    assert table.columns.tolist() == [
        *("perturbation", "kind", "dose", "group", "n_cells", "n_donors", "expression", "effect", "effect_sd"),
        *("score", "score_sd", "null_mean", "null_sd", "z", "p_value", "fdr", "baseline_effect", "baseline_shift"),
        *("shift_goal", "shift_start", "first_order", "status"),
    ]
    assert len(table) == 3 * len(ASKED)
    tested = table[table["status"] == "tested"]
    assert set(table["status"]) == {"tested", "too few cells", "expressed in no cell"}
    for _, rows in tested.groupby("group"):
        assert rows["p_value"].is_monotonic_increasing
    np.testing.assert_allclose(tested["fdr"], false_discovery_control(tested["p_value"]))
    numbers = table.select_dtypes("number").columns.difference(["n_cells", "n_donors", "dose"])
    assert table.loc[table["status"] != "tested", numbers].isna().all(axis=None)
    # Deleting what interferon induces moves interferon-treated cells back.
    stimulated = rank(cells, ["ISG15", "IFI6"], state_key="condition", start="IFN-beta", goal="control")
    assert (stimulated["shift_goal"] > 0).all()
    assert (stimulated["shift_start"] < 0).all()


@pytest.mark.parametrize("batch_size", [1, 7])
def test_table_does_not_depend_on_the_size_of_a_minibatch(cells: AnnData, batch_size: int) -> None:
    assert_same(rank(cells, batch_size=batch_size), rank(cells), without=SHARED)


def test_table_does_not_depend_on_the_order_of_genes(cells: AnnData) -> None:
    expected = rank(cells, test="permutation", n_permutations=200)
    for genes in (ASKED[::-1], set(ASKED), pd.Index(ASKED), (name for name in ASKED)):
        pd.testing.assert_frame_equal(rank(cells, genes, test="permutation", n_permutations=200), expected)


STORAGES: dict[str, Callable[[AnnData, Path], AnnData]] = {
    "csc": lambda adata, _: AnnData(adata.X.tocsc(), adata.obs, adata.var),
    "dense": lambda adata, _: AnnData(adata.X.toarray(), adata.obs, adata.var),
    "int64": lambda adata, _: AnnData(adata.X.astype(np.int64), adata.obs, adata.var),
    "layer": lambda adata, _: AnnData(
        sp.csr_matrix(adata.shape, dtype=np.float32), adata.obs, adata.var, layers={"counts": adata.X}
    ),
    "backed h5ad": lambda adata, folder: in_file(adata, folder / "cells.h5ad"),
    "lazy zarr": lambda adata, folder: in_file(adata, folder / "cells.zarr"),
}


def in_file(adata: AnnData, path: Path) -> AnnData:
    write_adata(adata, path)
    return read_adata(path, backed=True)


@pytest.mark.parametrize("storage", STORAGES)
def test_table_does_not_depend_on_the_storage(cells: AnnData, tmp_path: Path, storage: str) -> None:
    bare = AnnData(cells.X, cells.obs, cells.var)
    other = STORAGES[storage](bare, tmp_path)
    layer = "counts" if storage == "layer" else None
    pd.testing.assert_frame_equal(rank(other, layer=layer, **STATES), rank(bare, **STATES))


def test_table_of_logarithms_is_that_of_counts_per_10000(cells: AnnData) -> None:
    """Values in a logarithm are perturbed as what they stand for."""
    total = np.asarray(cells.X.sum(axis=1)).ravel()
    linear = sp.csr_matrix(sp.diags(1e4 / total) @ cells.X)
    logs = linear.copy()
    logs.data = np.log1p(logs.data)
    one = rank(AnnData(logs, cells.obs, cells.var), kind="inhibit", dose=0.5)
    other = rank(AnnData(cells.X, cells.obs, cells.var), kind="inhibit", dose=0.5)
    columns = ["perturbation", "group", "dose", "n_cells", "expression", "baseline_effect"]
    pd.testing.assert_frame_equal(
        one[columns].sort_values("perturbation", ignore_index=True),
        other[columns].sort_values("perturbation", ignore_index=True),
        rtol=1e-4,
    )


def test_rows_do_not_depend_on_what_else_is_asked_for(cells: AnnData) -> None:
    together = rank(cells, [*ASKED, "ISG15+FTL", ("B2M", "IFI6")], test="permutation", n_permutations=200)
    for genes in (["ISG15"], ["ISG15+FTL"], ["B2M", "CCR7"]):
        alone = rank(cells, genes, test="permutation", n_permutations=200)
        assert_same(alone, together[together["perturbation"].isin(genes)])


def test_groups_are_screened_alone_as_together(cells: AnnData) -> None:
    together = rank(cells, groupby="cell_type", **STATES)
    cells.obs["one"] = cells.obs["cell_type"].where(cells.obs["cell_type"] == "B")
    alone = rank(cells, groupby="one", **STATES)
    assert set(alone["group"]) == {"B"}
    assert_same(alone, together[together["group"] == "B"])


def test_doses_are_run_alone_as_together(cells: AnnData) -> None:
    together = rank(cells, kind="inhibit", dose=(0.2, 1.0))
    assert_same(rank(cells, kind="inhibit", dose=0.2), together[together["dose"] == 0.2])
    full, deleted = together[together["dose"] == 1].drop(columns="kind"), rank(cells).drop(columns="kind")
    assert_same(full, deleted)
    effect = together.pivot(index="perturbation", columns="dose", values="effect")
    assert (effect[1.0] > effect[0.2]).mean() > 0.6
    for doses in ([0.2, 1], np.array([0.2, 1.0])):
        pd.testing.assert_frame_equal(rank(cells, kind="inhibit", dose=doses), together)


def test_draws_are_those_of_the_seed(cells: AnnData) -> None:
    one = rank(cells, groupby="cell_type", random_state=3)
    pd.testing.assert_frame_equal(rank(cells, groupby="cell_type", random_state=3), one)
    other = rank(cells, groupby="cell_type", random_state=4)
    effects = [table.sort_values(["group", "perturbation"])["effect"].to_numpy() for table in (one, other)]
    assert (np.abs(effects[0] - effects[1]) > 1e-4 * effects[0]).sum() > len(one) / 2


def test_every_expressed_gene_is_screened_without_names(cells: AnnData) -> None:
    adata = cells[cells.obs["cell_type"] == "B"].copy()
    table = rank(adata, None, n_null=20, max_cells=20, min_cells=15)
    assert (table["status"] == "tested").all()
    assert (table["n_cells"] >= 15).all()
    assert len(table) > 15
    named = rank(adata, table["perturbation"].tolist(), n_null=20, max_cells=20, min_cells=15)
    pd.testing.assert_frame_equal(named, table)
    raised = rank(adata, None, kind="overexpress", n_null=20, max_cells=20, min_cells=15)
    assert set(raised["perturbation"]) == set(table["perturbation"])
    assert (raised["n_cells"] == 20).all()


def test_genes_are_perturbed_together(cells: AnnData) -> None:
    pairs = rank(cells, ["ISG15", "FTL", "B2M"], combinations=2)
    assert set(pairs["perturbation"]) == {"ISG15+FTL", "ISG15+B2M", "FTL+B2M"}
    written = rank(cells, ["ISG15+FTL", ("ISG15", "B2M"), ["FTL", "B2M"]])
    pd.testing.assert_frame_equal(pairs, written)
    singles = rank(cells, ["ISG15", "FTL"]).set_index("perturbation")
    both = pairs.set_index("perturbation").loc["ISG15+FTL"]
    assert both["n_cells"] <= singles["n_cells"].min()
    three = rank(cells, ["ISG15", "FTL", "B2M", "IFI6"], combinations=3, min_cells=3)
    assert len(three) == 4
    assert (three["status"] == "tested").all()


@pytest.mark.parametrize(
    ("labels", "control"),
    [
        (["control", "ISG15", "ISG15+FTL"], "control"),
        (["ctrl", "ISG15+ctrl", "FTL+ISG15"], "ctrl"),
        (["NT", "ISG15", "FTL+ISG15"], "NT"),
    ],
)
def test_measured_perturbations_are_those_of_a_column(cells: AnnData, labels: list[str], control: str) -> None:
    at = np.arange(cells.n_obs) % 4
    cells.obs["condition"] = pd.Categorical.from_codes(np.where(at == 3, 0, at), labels)
    table = scfm.tl.rank_perturbations(cells, perturbation_key="condition", control=control, **SMALL)
    assert sorted(map(sorted, table["perturbation"].str.split("+"))) == [["FTL", "ISG15"], ["ISG15"]]
    only = cells[(cells.obs["condition"] == labels[0]).to_numpy()].copy()
    expected = rank(only, ["ISG15"], max_cells=None)
    found = rank(cells, ["ISG15"], perturbation_key="condition", control=control, max_cells=None)
    for column in ("n_cells", "effect", "expression"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-4)


def test_donors_are_the_units_of_the_test(cells: AnnData) -> None:
    cells.obs["donor"] = pd.Categorical(np.array(["a", "b", "c", "d", None], object)[np.arange(cells.n_obs) % 5])
    table = rank(cells, donor_key="donor", max_cells=None)
    assert (table["n_donors"] == 4).all()
    by_gene = rank(cells, max_cells=None)
    columns = ["perturbation", "p_value"]
    both = table[columns].merge(by_gene[columns], on="perturbation")
    assert (both["p_value_x"] >= both["p_value_y"]).all()  # both must hold
    assert (both["p_value_x"] > both["p_value_y"]).any()
    table = rank(cells, donor_key="donor", max_cells=None, test="ranksum")
    flips = rank(cells, donor_key="donor", max_cells=None, test="permutation")
    np.testing.assert_allclose(flips["p_value"] * 16, np.round(flips["p_value"] * 16), rtol=1e-6)
    by_cell = rank(cells, max_cells=None, test="ranksum")
    assert (table.set_index("perturbation")["p_value"] > by_cell.set_index("perturbation")["p_value"]).mean() > 0.5
    assert (by_cell["n_donors"] == 0).all()


def test_perturbation_in_cells_of_two_donors_is_not_tested(cells: AnnData) -> None:
    donors = np.array(["a", "b", "c", "d"])[np.arange(cells.n_obs) % 4]
    cells.obs["donor"] = np.where(cells.obs["cell_type"] == "CD14 Mono", np.where(donors < "c", "a", "b"), donors)
    table = rank(cells, groupby="cell_type", donor_key="donor")
    of_two = table[(table["group"] == "CD14 Mono") & (table["n_cells"] >= 5)]
    assert len(of_two) > 3
    assert (of_two["status"] == "too few donors").all()
    assert of_two["effect"].notna().all()
    assert of_two[["p_value", "fdr"]].isna().all(axis=None)
    assert (table["status"] == "tested").sum() > 5


@pytest.mark.parametrize(("screen", "tolerance"), [("bfloat16", 0.2), ("gradient", 0.5)])
def test_first_ranking_chooses_what_is_run_exactly(cells: AnnData, screen: str, tolerance: float) -> None:
    exact = rank(cells, None, n_null=25, **STATES)
    some = rank(cells, None, n_null=25, screen=screen, n_exact=10, **STATES)
    assert some["status"].value_counts().to_dict() == {"not run": len(exact) - 10, "tested": 10}
    ran = some[some["status"] == "tested"]
    assert_same(ran, exact[exact["perturbation"].isin(ran["perturbation"])], without=("fdr", "first_order"))
    strongest = exact.assign(far=exact["score"].abs()).nlargest(5, "far")["perturbation"]
    assert set(strongest) <= set(ran["perturbation"])
    np.testing.assert_allclose(ran["first_order"], ran["score"], rtol=tolerance, atol=2e-3)
    assert some["first_order"].notna().all()
    p = np.concatenate([ran["p_value"], np.ones(len(exact) - 10)])
    np.testing.assert_allclose(ran["fdr"], false_discovery_control(p)[:10])


@pytest.mark.parametrize("screen", ["bfloat16", "gradient"])
def test_first_ranking_of_effects_and_of_pairs(cells: AnnData, screen: str) -> None:
    pairs = rank(cells, ASKED, combinations=2, kind="inhibit", dose=0.5, screen=screen, n_exact=5)
    tested = pairs[pairs["status"] == "tested"]
    assert len(tested) == 5
    left = pairs[pairs["status"] == "not run"]
    assert len(left) >= 5
    assert tested["first_order"].min() >= left["first_order"].max()


def test_table_survives_files(cells: AnnData, tmp_path: Path) -> None:
    cells = cells[::2].copy()
    cells.obs["state"] = np.array(["control", "IFN/beta", "third/one"])[np.arange(cells.n_obs) % 3]
    states = {"state_key": "state", "start": "control", "goal": "IFN/beta", "alternative": "third/one"}
    table = rank(cells, [*ASKED, "NOGENE"], **states)
    assert "shift_third_one" in table
    for suffix in ("h5ad", "zarr"):
        write_adata(cells, tmp_path / f"cells.{suffix}")
        for backed in (False, True):
            found = scfm.get.perturbations(read_adata(tmp_path / f"cells.{suffix}", backed=backed))
            pd.testing.assert_frame_equal(found, table, check_dtype=False)
    cells.write_h5ad(tmp_path / "plain.h5ad")
    pd.testing.assert_frame_equal(scfm.get.perturbations(read_h5ad(tmp_path / "plain.h5ad")), table, check_dtype=False)
    pd.testing.assert_frame_equal(scfm.get.perturbations(cells), table)


def test_only_the_table_is_written(cells: AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = AnnData(cells.X.copy(), cells.obs.copy(), cells.var.copy())
    rank(bare)
    assert list(bare.uns) == ["scfm"]
    assert not bare.obsm.keys()
    assert not bare.layers.keys()
    assert bare.obs.equals(cells.obs)
    assert bare.var.equals(cells.var)
    assert (bare.X != cells.X).nnz == 0
    monkeypatch.setattr("scfm_scverse.tl._perturbation.embed", embedded_again)
    before = cells.obsm["X_scfm"].copy()
    rank(cells, **STATES)
    np.testing.assert_array_equal(cells.obsm["X_scfm"], before)


def test_view_becomes_actual_without_a_warning(cells: AnnData) -> None:
    view = cells[cells.obs["cell_type"] == "B"]
    table = rank(view)
    assert not view.is_view
    assert scfm.get.perturbations(view).equals(table)
    assert "rank_perturbations" not in cells.uns["scfm"]


def test_screen_of_another_model_is_kept(cells: AnnData) -> None:
    rank(cells)
    cells.uns["scfm"]["rank_perturbations"]["scfm"]["model_id"] = "other:1"
    with pytest.raises(ModelMismatchError, match="Pass key_added= to keep both"):
        rank(cells)
    other = rank(cells, ["ISG15"], key_added="second")
    assert scfm.get.perturbations(cells, key="second").equals(other)
    assert len(scfm.get.perturbations(cells)) == len(ASKED)


def test_gene_names_of_scanpys_cells_are_ranked() -> None:
    import scanpy as sc

    adata = sc.datasets.pbmc68k_reduced()
    table = scfm.tl.rank_perturbations(adata, ["CD74", "LYZ", "NKG7", "NOGENE"], max_cells=50, n_null=30)
    assert table["status"].tolist() == ["tested"] * 3 + ["not in the data"]
    assert (table["effect"][:3] > 0).all()
