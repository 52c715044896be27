"""``tl.rank_perturbations`` of what cannot be perturbed or tested: a row that says so, or a clear error."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError, ScfmError
from support import GENES, two_types

SMALL: dict[str, Any] = {"n_null": 30, "min_cells": 5}


@pytest.fixture
def adata() -> AnnData:
    """Cells of two kinds and four donors; CD8A is expressed in two cells and CD8B in none."""
    adata = two_types()
    adata.obs["donor"] = [f"d{i % 4}" for i in range(adata.n_obs)]
    counts = adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X.copy()
    counts[:, GENES.index("CD8B")] = 0
    counts[:, GENES.index("CD8A")] = 0
    counts[:2, GENES.index("CD8A")] = 3
    adata.X = counts
    return adata


def rank(adata: AnnData, genes: Any = ("CD3D", "CD79A"), **arguments: Any) -> pd.DataFrame:
    return scfm.tl.rank_perturbations(adata, genes, **{**SMALL, **arguments})


def test_what_cannot_be_perturbed_is_listed_and_the_rest_goes_on(adata: AnnData) -> None:
    adata = adata[:, adata.var_names != "LYZ"].copy()
    adata.var_names = ["AC000000.1" if name == "CD4" else name for name in adata.var_names]
    asked = ["CD3D", "CD79A", "CD3D", "Leu-4", "CD3D+CD79A", "CD79A+CD3D", "CD3D+CD3D", "CD3D+", 7, None]
    table = rank(adata, [*asked, "LYZ", "NOGENE+CD3D", "AC000000.1", "CD8B", "CD8A", "CD8A+CD3D", "ctrl"])
    status = list(zip(table["perturbation"], table["status"], strict=True))
    assert sorted(status) == sorted(
        [
            ("CD3D", "tested"),
            ("CD79A", "tested"),
            ("CD3D", "given twice"),
            ("Leu-4", "not in the data"),
            ("CD3D+CD79A", "expressed in no cell"),
            ("CD79A+CD3D", "given twice"),
            ("CD3D+CD3D", "no perturbation"),
            ("CD3D+", "no perturbation"),
            ("7", "no perturbation"),
            ("None", "no perturbation"),
            ("LYZ", "not in the data"),
            ("NOGENE+CD3D", "not in the data"),
            ("AC000000.1", "not known to the model"),
            ("CD8B", "expressed in no cell"),
            ("CD8A", "too few cells"),
            ("CD8A+CD3D", "too few cells"),
        ]
    )
    untested = table[table["status"] != "tested"]
    numbers = table.select_dtypes("number").columns.difference(["n_cells", "n_donors", "dose"])
    assert untested[numbers].isna().all(axis=None)
    assert untested.set_index("perturbation")["n_cells"]["CD8A"] == 2
    expected = rank(adata, ["CD3D", "CD79A"])
    pd.testing.assert_frame_equal(table[: len(expected)], expected)


def test_gene_given_twice_by_another_name(adata: AnnData) -> None:
    table = rank(adata, ["MS4A1", "CD20", "CD79A+CD20", "CD20+MS4A1", "MS4A1+CD79A"])
    assert dict(zip(table["perturbation"], table["status"], strict=True)) == {
        "MS4A1": "tested",
        "CD20": "given twice",
        "CD79A+CD20": "tested",
        "CD20+MS4A1": "given twice",
        "MS4A1+CD79A": "given twice",
    }


def test_name_alone_is_one_perturbation(adata: AnnData) -> None:
    assert rank(adata, "CD3D")["perturbation"].tolist() == ["CD3D"]
    assert rank(adata, "CD74+B2M")["perturbation"].tolist() == ["CD74+B2M"]


def test_group_without_enough_cells_is_listed(adata: AnnData) -> None:
    adata.obs["kind"] = np.where(np.arange(adata.n_obs) == 0, "one cell", adata.obs["kind"])
    table = rank(adata, ["B2M", "ACTB"], groupby="kind")
    assert (table["status"][table["group"] == "one cell"].isin(["too few cells", "expressed in no cell"])).all()
    assert (table["status"][table["group"] != "one cell"] == "tested").all()


def test_group_without_cells_of_a_state_is_listed(adata: AnnData) -> None:
    adata.obs["state"] = np.where((adata.obs["kind"] == "B cell") & (np.arange(adata.n_obs) % 3 == 0), "well", "sick")
    table = rank(adata, ["B2M", "ACTB"], groupby="kind", state_key="state", start="sick", goal="well")
    by_group = table.groupby("group")["status"].agg(set).to_dict()
    assert by_group == {"B cell": {"tested"}, "T/NK cell": {"no cells of a state"}}
    assert table["shift_goal"].notna().sum() == 2


def test_cells_that_lose_their_last_gene_do_not_count(adata: AnnData) -> None:
    adata.X[10:] = 0
    adata.X[10:, GENES.index("B2M")] = 5
    table = rank(adata, ["B2M", "ACTB", "FTL"], min_cells=8, n_null=30).set_index("perturbation")
    assert table["status"]["B2M"] == "too few cells" or table["n_cells"]["B2M"] <= 10
    raised = rank(adata, ["B2M", "ACTB"], kind="overexpress", min_cells=8)
    assert (raised["status"] == "tested").all()
    assert (raised["n_cells"] == adata.n_obs).all()


def test_gene_without_others_to_compare_with(adata: AnnData) -> None:
    """Where no other gene is in enough cells there is nothing to test against, and that is said."""
    adata.X[:] = 0
    adata.X[np.arange(adata.n_obs), np.arange(adata.n_obs)] = 3  # a gene of its own in each cell
    adata.X[:, GENES.index("B2M")] += 1
    adata.X[:, GENES.index("CD74")] += 2
    table = rank(adata, ["B2M", "CD74+B2M"], min_cells=30, test="ranksum").set_index("perturbation")
    assert table["status"].to_dict() == {"B2M": "tested", "CD74+B2M": "no matched genes"}
    assert np.isfinite(table["effect"]).all()
    assert np.isnan(table["p_value"]["CD74+B2M"])


NOTHING = "Found nothing to test among"
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no gene": ({"genes": []}, "Found no gene to perturb in genes= or perturbation_key="),
    "controls only": ({"genes": ["ctrl", "control"]}, "Found no gene to perturb in genes= or perturbation_key="),
    "no label but controls": ({"genes": None, "perturbation_key": "untouched"}, "Found no gene to perturb"),
    "unknown genes only": ({"genes": ["NOGENE", "NOGENE2"]}, NOTHING + r" 2 perturbations \(not in the data: 2\)"),
    "more cells than there are": ({"genes": None, "min_cells": 61}, NOTHING + ".*min_cells=61"),
    "goal is start": ({"state_key": "kind", "start": "B cell", "goal": "B cell"}, "Found 'B cell' twice among goal"),
    "goal is alternative": (
        {"state_key": "kind", "goal": "B cell", "alternative": "B cell"},
        "Found 'B cell' twice among goal, start and alternative",
    ),
    "unknown goal": ({"state_key": "kind", "goal": "A cell"}, "no cell in state 'A cell'.*'B cell', 'T/NK cell'"),
    "unknown start": ({"state_key": "kind", "start": "A cell"}, "no cell in state 'A cell'.*'B cell', 'T/NK cell'"),
    "alternative without goal": ({"state_key": "kind", "alternative": "B cell"}, "without goal="),
    "no such control": ({"perturbation_key": "kind", "control": "NT"}, "Found no control 'NT'.*'B cell'.*control="),
    "two donors": ({"donor_key": "batch"}, r"Found 2 donors in adata.obs\['batch'\].*three at least"),
    "dose of a deletion": ({"dose": 0.5}, "expected dose=1, or kind='inhibit'"),
    "dose above all": ({"kind": "inhibit", "dose": 1.5}, "above 0, 1"),
    "dose that is text": ({"kind": "inhibit", "dose": "high"}, "Found dose='high'"),
    "dose that is no number": ({"kind": "inhibit", "dose": [0.5, True]}, "Found dose=True"),
    "doses twice": ({"kind": "inhibit", "dose": [0.5, 0.5]}, "different numbers"),
    "no dose": ({"kind": "inhibit", "dose": []}, "different numbers"),
    "unknown kind": ({"kind": "knockout"}, "Found kind='knockout'; expected one of 'delete'"),
    "kinds": ({"kind": ["delete", "inhibit"]}, "one kind for all genes of a call"),
    "unknown test": ({"test": "t"}, "expected 'genes', 'ranksum' or 'permutation'"),
    "unknown screen": ({"screen": "float16"}, "Found screen='float16'"),
    "gradient of what is raised": ({"kind": "overexpress", "screen": "gradient"}, "to delete or inhibit"),
    "exact without screen": ({"n_exact": 5}, "Found n_exact=5 without screen="),
    "no exact": ({"screen": "bfloat16", "n_exact": 0}, "Found n_exact=0; expected a whole number, 1"),
    "combinations of combinations": ({"genes": ["CD3D+CD79A", "CD4"], "combinations": 2}, "expected single genes"),
    "combinations of all genes": ({"genes": None, "combinations": 2}, "without genes=; expected genes to combine"),
    "combinations of none": ({"combinations": 0}, "Found combinations=0"),
    "too few to combine": ({"genes": ["CD3D", "NOGENE"], "combinations": 2}, "Found 1 usable genes"),
    "unknown statistics": ({"statistics": "t"}, "Found statistics='t'; expected one of 'matched'"),
    "shift without goal": (
        {"statistics": "goal_state_shift", "state_key": "kind"},
        "without goal=; expected state_key",
    ),
    "null without cells": (
        {"statistics": "vs_null", "state_key": "kind", "start": "B cell"},
        "without alternative=; expected state_key, start, alternative",
    ),
    "goal that is not read": (
        {"statistics": "mixture_model", "state_key": "kind", "goal": "B cell"},
        "Found goal= with statistics='mixture_model', which would not be read",
    ),
    "donors that are not read": (
        {"statistics": "aggregate_data", "donor_key": "donor"},
        "Found donor_key= with statistics='aggregate_data'",
    ),
    "shifts of genes without vectors": ({"statistics": "aggregate_gene_shifts"}, "has no vectors of genes"),
    "no statistics": (
        {"statistics": "aggregate_data", "genes": ["CD8A"]},
        "Found no perturbation in min_cells=5 cells",
    ),
    "mixture of one": ({"statistics": "mixture_model", "genes": ["CD3D"]}, "Found 1 different mean shifts"),
    "small null": ({"n_null": 1}, "Found n_null=1; expected a whole number, 2 at least"),
    "no permutation": ({"test": "permutation", "n_permutations": 0}, "Found n_permutations=0"),
    "no cells needed": ({"min_cells": 0}, "Found min_cells=0"),
    "no cells": ({"max_cells": 0}, "Found max_cells=0"),
    "no minibatch": ({"batch_size": 0}, "batch_size=0"),
    "two labels in one": ({"perturbation_key": "twice"}, "Found 'CD3D' twice"),
    "slash in the key": ({"key_added": "a/b"}, "without '/'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named(adata: AnnData, case: str) -> None:
    arguments, message = BAD[case]
    adata.obs["untouched"] = "control"
    adata.obs["twice"] = np.array(["control", "CD3D+CD3D"])[np.arange(adata.n_obs) % 2]
    with pytest.raises(InputError, match=message) as error:
        rank(adata, **arguments)
    assert isinstance(error.value, ScfmError)
    assert "scfm" not in adata.uns


@pytest.mark.parametrize("argument", ["groupby", "state_key", "perturbation_key", "donor_key", "total_key"])
def test_missing_columns_are_named(adata: AnnData, argument: str) -> None:
    with pytest.raises(MissingKeyError, match=re.escape(f"{argument}='nowhere' is not in adata.obs")):
        rank(adata, **{argument: "nowhere"})


@pytest.mark.parametrize("argument", ["start", "goal", "alternative"])
def test_states_need_their_column(adata: AnnData, argument: str) -> None:
    with pytest.raises(MissingKeyError, match=f"Found {argument}= without state_key="):
        rank(adata, **{argument: "B cell"})


def test_no_cell_left_to_perturb(adata: AnnData) -> None:
    adata.obs["screen"] = np.where(adata.obs["kind"] == "B cell", "control", "CD3D")
    with pytest.raises(InputError, match="Found no cell to perturb"):
        rank(adata, state_key="kind", start="T/NK cell", perturbation_key="screen")


def test_model_without_gradients_is_named(adata: AnnData) -> None:
    model = scfm.models.load("scfm-mini")

    class Plain:
        spec, gene_rows = model.spec, model.gene_rows
        positions, tokenizer, encode = model.positions, model.tokenizer, model.encode

    with pytest.raises(InputError, match="Found screen='gradient' with scfm-mini, which has no"):
        rank(adata, model=Plain(), screen="gradient")
