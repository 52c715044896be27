"""Confidence against the user's own labels: what is right, what cannot be judged, and the error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from support import annotated_by_hand


def test_bins_hold_confidence_and_share_of_right_answers() -> None:
    adata = annotated_by_hand()
    wrong = np.arange(adata.n_obs) % 5 == 0
    adata.obs["mine"] = adata.obs["scfm_cell_type_fine"].astype(object).where(~wrong, "neuron")
    adata.obs["scfm_confidence"] = np.float32(0.7)
    table = scfm.get.calibration(adata, labels_key="mine")
    assert len(table) == 15
    full = table[table["n_cells"] > 0]
    assert len(full) == 1
    (low, high), row = full.index[0], full.iloc[0]
    assert low < 0.7 <= high
    assert row["n_cells"] == 45
    assert row["share_right"] == pytest.approx(36 / 45)
    expected = binomtest(36, 45).proportion_ci(method="wilson")
    assert (row["low"], row["high"]) == pytest.approx((expected.low, expected.high))
    assert table.attrs["ece"] == pytest.approx(0.1, abs=1e-6)
    assert table[table["n_cells"] == 0].drop(columns="n_cells").isna().all(axis=None)


def test_answer_above_the_label_is_right_and_one_below_it_is_counted() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].cat.rename_categories({"B cell": "naive B cell", "T cell": "lymphocyte"})
    table = scfm.get.calibration(adata, labels_key="mine")
    assert table["share_right"].dropna().eq(1).all()
    assert table.attrs["n_finer"] == 15


def test_cells_that_cannot_be_judged_are_left_out_and_counted() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = adata.obs["mine"].astype(object).where(np.arange(adata.n_obs) >= 4, "cluster 4")
    adata.obs["mine"] = adata.obs["mine"].where(np.arange(adata.n_obs) != 20)
    table = scfm.get.calibration(adata, labels_key="mine")
    facts = {name: table.attrs[name] for name in ("n_judged", "n_no_type", "n_not_judged")}
    assert facts == {"n_judged": 40, "n_no_type": 15, "n_not_judged": 5}
    assert table["n_cells"].sum() == 40


def test_ids_take_the_place_of_names() -> None:
    adata = annotated_by_hand()
    adata.obs["term"] = pd.Categorical(["CL:0000236"] * 30 + ["none"] * 30)
    adata.obs["mine"] = "x/y"
    table = scfm.get.calibration(adata, labels_key="mine", ontology_key="term")
    assert table.attrs["n_judged"] == 30
    assert (table["n_cells"] * table["share_right"]).sum() == pytest.approx(15)


def test_labels_that_are_no_terms_are_an_error_that_names_ontology_key() -> None:
    adata = annotated_by_hand()
    adata.obs["mine"] = [f"cluster {i % 4}" for i in range(adata.n_obs)]
    with pytest.raises(InputError, match="Pass ontology_key="):
        scfm.get.calibration(adata, labels_key="mine")


@pytest.mark.parametrize("argument", ["labels_key", "ontology_key"])
def test_missing_column_is_an_error(argument: str) -> None:
    arguments = {"labels_key": "mine", argument: "nowhere"}
    with pytest.raises(MissingKeyError, match=f"{argument}='nowhere' is not in"):
        scfm.get.calibration(annotated_by_hand(), **arguments)
