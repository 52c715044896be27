"""Geneformer's tables through ``tl.rank_perturbations``: the original's numbers on the original's cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from scipy.stats import ranksums

import scfm_scverse as scfm
from scfm_scverse.io.files import read_adata, write_adata
from scfm_scverse.models import CellModel
from scfm_scverse.perturbation import aggregate_gene_shifts, goal_state_shift, mixture_model
from support import GENES, two_types

TOLERANCE = 2e-5
STATES = {"state_key": "disease", "start": "dcm", "goal": "nf", "alternative": "hcm"}
ZEROS = "c15"  # has two stored zeros, which the original ranks and blocks of a matrix do not hold


class Golden:
    """A version's model, cells and results of the original."""

    def __init__(self, folder: Path, version: str) -> None:
        second = version == "second"
        self.inputs = json.loads((folder / ("second" if second else "") / "perturbation.json").read_text())
        self.prefix, version = ("", "v2") if second else (f"{version}_", version)
        self.model: CellModel = scfm.models.load(
            folder / "second" / "model" if second else folder / f"model_{version}",
            token_dictionary=folder / f"token_dictionary_{version}.json",
            gene_medians=folder / f"gene_median_dictionary_{version}.json",
            gene_mapping=folder / f"ensembl_mapping_dict_{version}.json",
            mode="original",
        )
        stored = np.load(folder / "tokens.npz")
        part = f"unique_{version}_stable"
        ids = np.split(stored[f"{part}_input_ids"], stored[f"{part}_indptr"][1:-1])
        self.tokens = dict(zip(stored[f"{part}_cell_id"].tolist(), ids, strict=True))
        adata = anndata.read_h5ad(folder / "cells_unique.h5ad")
        adata.obs_names = adata.obs["cell_id"].astype(str)
        self.disease = adata.obs["disease"].astype(str).to_dict()
        adata = adata[adata.obs["filter_pass"].to_numpy() == 1].copy()
        perturbed = adata.obs_names.isin(self.inputs["cells"]) & (adata.obs_names != ZEROS)
        adata.obs["screen"] = np.where(perturbed, "control", None)
        self.adata = adata

    def table(self, genes: Any, **arguments: Any) -> pd.DataFrame:
        """Run the cells of the original that it tokenises as we do."""
        return scfm.tl.rank_perturbations(
            self.adata, genes, model=self.model, perturbation_key="screen", min_cells=1, max_cells=None, **arguments
        )

    def shifts(self, case: str, what: str = "cell") -> pd.DataFrame:
        """Shifts of the original in these cells: its files name no cell, but go from the longest to the shortest."""
        states, rows = case.endswith("_states"), []
        cells = [name for name in self.tokens if name in self.inputs["cells"]]
        cells = [name for name in cells if not states or self.disease[name] == "dcm"]
        cells.sort(key=lambda name: -len(self.tokens[name]))
        for state, by_key in self.inputs["results"][self.prefix + case][what].items():
            for key, values in by_key.items():
                genes, affected = key.split("|")
                perturbed = [int(gene) for gene in genes.split("+")]
                needed = perturbed + ([] if what == "cell" else [int(affected)])
                holders = [name for name in cells if np.isin(needed, self.tokens[name]).all()]
                if what == "cell":
                    holders = [name for name in holders if len(self.tokens[name]) > len(perturbed)]
                assert len(holders) == len(values)
                rows += [
                    (state, perturbed[0] if len(perturbed) == 1 else tuple(perturbed), affected, name, value)
                    for name, value in zip(holders, values, strict=True)
                    if name != ZEROS
                ]
        frame = pd.DataFrame(rows, columns=["state", "perturbed", "affected", "name", "shift"])
        if not states:
            return frame.drop(columns="state")
        return frame.pivot(index=["perturbed", "name"], columns="state", values="shift").reset_index()

    def genes(self) -> list[str]:
        return [name for name in self.model.spec.genes.tolist() if name.startswith("ENSG")]

    def names(self) -> pd.DataFrame:
        return pd.DataFrame({"Gene_name": self.model.spec.genes, "Ensembl_ID": self.model.spec.genes})


HELD_OUT = pytest.param("second", marks=pytest.mark.holdout)
EVERY = pytest.mark.parametrize("golden", ["v1", "v2", HELD_OUT], indirect=True)
KNOWN = pytest.mark.parametrize("golden", ["v1", "v2"], indirect=True)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest, shared: Path) -> Golden:
    return Golden(shared / "golden" / "geneformer", request.param)


def check(found: pd.DataFrame, expected: pd.DataFrame, keys: list[str]) -> None:
    """The numbers of two tables, row by row of the same genes; p-values depend on ranks that roundings may change."""
    assert len(found) == len(expected)
    found, expected = (one.set_index(keys).sort_index() for one in (found, expected))
    assert found.index.tolist() == expected.index.tolist()
    for column in expected.columns.intersection(found.columns):
        if expected[column].dtype.kind != "f":
            continue
        near = {"rtol": 0, "atol": 0.05} if "pval" in column or "FDR" in column else {"rtol": 0, "atol": TOLERANCE}
        np.testing.assert_allclose(found[column], expected[column], err_msg=column, **near)


@EVERY
def test_shifts_to_states_are_those_of_the_original(golden: Golden) -> None:
    shifts = golden.shifts("delete_all_states")
    table = golden.table(golden.genes(), statistics="goal_state_shift", **STATES)
    expected = goal_state_shift(shifts, "nf", ["hcm"], names=golden.names())
    assert table.columns.tolist() == [*expected.columns, "group", "dose"]
    check(table, expected, ["Gene", "N_Detections"])
    assert table["Sig"].is_monotonic_decreasing
    own = golden.table(golden.genes(), n_null=30, key_added="own", **STATES).set_index("perturbation")
    mean = shifts.groupby("perturbed")[["nf", "hcm"]].mean()
    mean.index = golden.model.spec.genes[mean.index]
    tested = own[own["n_cells"] > 0]
    rows = mean.loc[tested.index]
    assert len(rows) == len(mean)
    np.testing.assert_allclose(tested["shift_goal"], rows["nf"], rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(tested["shift_hcm"], rows["hcm"], rtol=0, atol=TOLERANCE)


@KNOWN
def test_impact_is_that_of_the_originals_shifts(golden: Golden) -> None:
    shifts = golden.shifts("delete_all")
    table = golden.table(golden.genes(), statistics="mixture_model")
    expected = mixture_model(shifts, names=golden.names())
    check(table[["Gene", "Test_avg_shift", "N_Detections"]], expected, ["Gene", "N_Detections"])


@pytest.mark.parametrize(
    ("golden", "which"),
    [
        ("v1", "one"),
        ("v1", "pair"),
        ("v2", "one"),
        ("v2", "pair"),
        pytest.param("second", "pair", marks=pytest.mark.holdout),
    ],
    indirect=["golden"],
)
def test_values_of_single_cells_are_those_of_the_original(golden: Golden, which: str) -> None:
    genes = tuple(golden.inputs["genes"][which])
    table = golden.table([genes], statistics="aggregate_data")
    expected = golden.shifts(f"delete_{which}")
    np.testing.assert_allclose(np.sort(table["Cosine_sim"]), np.sort(expected["shift"]), rtol=0, atol=TOLERANCE)
    assert set(table["Gene"]) == {"+".join(genes)}


@KNOWN
@pytest.mark.parametrize("which", ["one", "pair"])
def test_shifts_of_genes_are_those_of_the_original(golden: Golden, which: str) -> None:
    genes = golden.inputs["genes"][which]
    table = golden.table([tuple(genes)], statistics="aggregate_gene_shifts")
    cells, others = (golden.shifts(f"delete_{which}_and_gene", what) for what in ("cell", "gene"))
    tokens = golden.names().assign(Gene_name=lambda names: names["Ensembl_ID"])
    expected = aggregate_gene_shifts(cells, others.assign(affected=others["affected"].astype(int)), names=tokens)
    expected["Affected"] = expected["Affected"].astype(str)
    assert table["Affected"].iloc[0] == "cell_emb"
    check(table, expected, ["Affected", "N_Detections"])
    assert table["Cosine_sim_mean"][1:].is_monotonic_increasing


MIN_CELLS = 5


@pytest.fixture
def adata() -> AnnData:
    adata = two_types()
    adata.obs["state"] = np.array(["sick", "well", "other"])[np.arange(adata.n_obs) % 3]
    return adata


def of_cells(adata: AnnData, gene: str, state: str) -> np.ndarray:
    """Cosines of the cells in a state that hold a gene."""
    scfm.tl.perturb(adata, gene)
    held = (adata.obs["state"] == state).to_numpy() & (np.asarray(adata[:, gene].X).ravel() > 0)
    return 1 - adata.obs["scfm_effect"].to_numpy()[held]


def test_cells_of_two_states_are_compared_gene_by_gene(adata: AnnData) -> None:
    asked = ["B2M", "ACTB", "CCL5"]
    states = {"state_key": "state", "start": "sick", "alternative": "well"}
    table = scfm.tl.rank_perturbations(adata, asked, statistics="vs_null", min_cells=MIN_CELLS, **states)
    assert sorted(table["Gene_name"]) == sorted(asked)
    for row in table.itertuples():
        test, null = (of_cells(adata, row.Gene_name, state) for state in ("sick", "well"))
        assert (row.N_Detections_test, row.N_Detections_null) == (len(test), len(null))
        assert row.Test_avg_shift == pytest.approx(test.mean(), abs=1e-6)
        assert row.Null_avg_shift == pytest.approx(null.mean(), abs=1e-6)
        assert row.Test_vs_null_pval == pytest.approx(ranksums(test, null).pvalue, rel=0.05)


@pytest.mark.parametrize(
    ("statistics", "more"),
    [
        ("goal_state_shift", {"state_key": "state", "start": "sick", "goal": "well"}),
        ("vs_null", {"state_key": "state", "start": "sick", "alternative": "other"}),
        ("mixture_model", {}),
        ("aggregate_data", {}),
    ],
)
def test_tables_of_groups_and_doses_stand_below_each_other_and_survive_files(
    adata: AnnData, tmp_path: Path, statistics: Any, more: dict[str, Any]
) -> None:
    asked = [*GENES[::6], "B2M+ACTB", "NOGENE"]
    arguments = {"kind": "inhibit", "dose": [0.4, 1], "min_cells": MIN_CELLS, "statistics": statistics, **more}
    table = scfm.tl.rank_perturbations(adata, asked, groupby="kind", **arguments)
    parts = list(table.groupby(["group", "dose"], sort=False))
    assert [key for key, _ in parts] == [("B cell", 0.4), ("B cell", 1), ("T/NK cell", 0.4), ("T/NK cell", 1)]
    write_adata(adata, tmp_path / "cells.h5ad")
    found = scfm.get.perturbations(read_adata(tmp_path / "cells.h5ad"))
    pd.testing.assert_frame_equal(found, table, check_dtype=False)
    adata.obs["one"] = adata.obs["kind"].where(adata.obs["kind"] == "B cell")
    alone = scfm.tl.rank_perturbations(adata, asked, groupby="one", **arguments | {"dose": 1})
    of_one = dict(parts)["B cell", 1].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, of_one, rtol=1e-4, atol=1e-6)


def test_group_without_cells_of_a_state_is_left_out(adata: AnnData) -> None:
    adata.obs["state"] = np.where(adata.obs["kind"] == "B cell", adata.obs["state"], "sick")
    states = {"state_key": "state", "start": "sick"}
    arguments = {"groupby": "kind", "min_cells": MIN_CELLS, **states}
    null = scfm.tl.rank_perturbations(adata, ["B2M", "ACTB"], statistics="vs_null", alternative="well", **arguments)
    goal = scfm.tl.rank_perturbations(adata, ["B2M", "ACTB"], statistics="goal_state_shift", goal="well", **arguments)
    assert set(null["group"]) == set(goal["group"]) == {"B cell"}
