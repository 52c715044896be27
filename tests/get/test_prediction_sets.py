"""Prediction sets: sizes, labels, pairs, against a plain count."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from support import annotated_by_hand

CLASSES = ["B cell", "T/NK cell", "a, b", "monocyte"]
some_sets = st.lists(st.lists(st.sampled_from(CLASSES), unique=True, max_size=4), min_size=1, max_size=30)


def with_sets(sets: list[list[str]]) -> AnnData:
    n = len(sets)
    columns = ("cell_type", "cell_type_fine", "cell_type_ontology", "confidence", "unknown_score")
    obs = pd.DataFrame({f"scfm_{name}": [0.5] * n for name in columns}, index=[f"c{i}" for i in range(n)])
    obs["scfm_prediction_set"] = pd.Categorical(["|".join(labels) for labels in sets])
    return AnnData(obs=obs)


@hypothesis_settings(max_examples=30)
@given(some_sets.filter(any))
def test_counts_are_those_of_a_plain_loop(sets: list[list[str]]) -> None:
    adata = with_sets(sets)
    full = [labels for labels in sets if labels]
    sizes = scfm.get.prediction_sets(adata)
    assert sizes["n_cells"].to_dict() == Counter(map(len, full))
    assert sizes["share"].sum() == pytest.approx(1)
    labels = scfm.get.prediction_sets(adata, by="label")
    assert labels["n_cells"].to_dict() == Counter(label for one in full for label in one)
    assert labels["n_alone"].sum() == sum(len(one) == 1 for one in full)
    for label, mean in labels["mean_size"].items():
        assert mean == pytest.approx(np.mean([len(one) for one in full if label in one]))
    pairs = scfm.get.prediction_sets(adata, by="pair").set_index(["label", "other"])["n_cells"]
    expected = Counter(pair for one in full for pair in combinations(sorted(one), 2))
    assert pairs.to_dict() == expected
    assert pairs.is_monotonic_decreasing


def test_error_rate_and_forced_share_come_with_the_table() -> None:
    assert scfm.get.prediction_sets(annotated_by_hand()).attrs == {"alpha": 0.1, "share_forced": 0.02}


def test_annotation_without_sets_is_an_error_that_says_what_to_do() -> None:
    adata = annotated_by_hand()
    del adata.obs["scfm_prediction_set"]
    assert "prediction_set" not in scfm.get.annotation(adata)
    with pytest.raises(MissingKeyError, match=r"scfm_prediction_set'\] is missing.*tl\.annotate"):
        scfm.get.prediction_sets(adata)


def test_cells_without_counts_alone_have_no_sets() -> None:
    with pytest.raises(InputError, match="expected cells with counts"):
        scfm.get.prediction_sets(with_sets([[], []]))


def test_unknown_way_to_count_is_an_error() -> None:
    with pytest.raises(InputError, match="'size', 'label', 'pair'"):
        scfm.get.prediction_sets(annotated_by_hand(), by="cell")
