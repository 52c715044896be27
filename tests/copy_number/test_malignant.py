"""The malignant score weighs copy number and unknown score by the evidence; lineages that never are do not score."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse.copy_number import is_normal_lineage, malignant_score

UNIT = st.floats(0, 1, width=32)
Z = st.floats(-50, 50, width=32) | st.just(float("nan"))


def score(unknown: float, along: float, distant: float, evidence: float, lineage: float) -> float:
    return float(malignant_score(*(np.array([one]) for one in (unknown, along, distant, evidence, lineage)))[0])


@given(UNIT, Z, Z, UNIT, UNIT)
def test_score_lies_between_0_and_1(
    unknown: float, along: float, distant: float, evidence: float, lineage: float
) -> None:
    assert 0 <= score(unknown, along, distant, evidence, lineage) <= 1


def test_the_unknown_score_counts_where_gains_and_losses_are_not_plain() -> None:
    assert score(0.0, 20, 20, 1, 1) > 0.7
    assert 0 < score(1.0, 20, 20, 1, 1) - score(0.0, 20, 20, 1, 1) < 0.1
    assert score(0.9, 0, 0, 0, 1) > score(0.1, 0, 0, 0, 1) + 0.3


def test_score_rises_with_each_part_and_ends_with_the_lineage() -> None:
    assert score(0.5, 8, 4, 0.5, 1) > score(0.5, 2, 4, 0.5, 1)
    assert score(0.5, 8, 4, 0.5, 1) > score(0.5, 8, 1, 0.5, 1)
    assert score(1.0, 20, 20, 1, 0) == 0


def test_missing_numbers_count_as_nothing() -> None:
    nan = float("nan")
    assert score(nan, nan, nan, 0, nan) == 0
    assert score(1.0, nan, nan, 0, 1) == 0.5


def test_lineages_are_told_by_their_place_in_the_ontology() -> None:
    normal = ["CL:0000084", "CL:0000235", "CL:0000129", "CL:0000057", "CL:0000115", "CL:0000669", "CL:0000786"]
    others = ["CL:0000066", "CL:0000127", "CL:0000169", "CL:0000148", "", "unknown", "CL:9999999"]
    assert all(map(is_normal_lineage, normal))
    assert not any(map(is_normal_lineage, others))
