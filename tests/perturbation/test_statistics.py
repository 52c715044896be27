"""Tables of statistics against the original's, from the same shifts."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ranksums

from scfm_scverse._errors import InputError
from scfm_scverse.perturbation import (
    aggregate_data,
    aggregate_gene_shifts,
    goal_state_shift,
    mean_goal_state_shift,
    mixture_model,
    statistics,
    vs_null,
)

Shifts = Callable[[str], pd.DataFrame]
Names = Callable[[str], pd.DataFrame]
FIVE = pd.DataFrame({"Gene_name": list("ABCDE"), "Ensembl_ID": [f"ENSG{i}" for i in range(5)]})


def check_table(found: pd.DataFrame, golden: Path, table: str, *, sorted_by: str) -> None:
    """Columns, rows and their order as in a table of the original, numbers within the tolerances that it states.

    The order of rows is checked by the numbers they are sorted by: the stored shifts are rounded, some are equal.
    """
    expected = pd.read_csv(golden / "stats" / f"{table}.csv", index_col=0)
    found = pd.read_csv(StringIO(found.to_csv()), index_col=0)
    assert list(found.columns) == list(expected.columns)
    np.testing.assert_allclose(found[sorted_by], expected[sorted_by], rtol=0, atol=1e-6)
    numbers = [column for column in expected if expected[column].dtype == found[column].dtype == float]
    keys = [column for column in expected if column not in numbers]
    if keys:
        found, expected = (one.set_index(keys).sort_index() for one in (found, expected))
    pd.testing.assert_index_equal(found.index, expected.index)
    for column in expected:
        is_p = "pval" in column or "FDR" in column
        tolerance = {"rtol": 1e-5, "atol": 0} if is_p else {"rtol": 0, "atol": 1e-6}
        np.testing.assert_allclose(found[column], expected[column], err_msg=column, **tolerance)


@pytest.mark.parametrize("mode", ["default", "original"])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_goal_state_shift_of_all_genes(
    golden: Path, shifts: Shifts, names: Names, version: str, mode: statistics.Mode
) -> None:
    found = goal_state_shift(shifts(f"{version}_delete_all_states"), "nf", ["hcm"], names=names(version), mode=mode)
    check_table(found, golden, f"goal_state_shift_all_{version}", sorted_by="Shift_to_goal_end")


def test_goal_state_shift_without_alternatives(golden: Path, shifts: Shifts, names: Names) -> None:
    found = goal_state_shift(shifts("v2_delete_all_states"), "nf", names=names("v2"))
    check_table(found, golden, "goal_state_shift_all_noalt_v2", sorted_by="Shift_to_goal_end")


@pytest.mark.parametrize("genes", ["one", "pair"])
def test_goal_state_shift_of_a_list(golden: Path, shifts: Shifts, genes: str) -> None:
    found = mean_goal_state_shift(shifts(f"v2_delete_{genes}_states"), "nf", ["hcm"])
    check_table(found, golden, f"goal_state_shift_{genes}_v2", sorted_by="Shift_to_goal_end")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_vs_null(golden: Path, shifts: Shifts, names: Names, version: str) -> None:
    found = vs_null(shifts(f"{version}_delete_all"), shifts(f"{version}_overexpress_all"), names=names(version))
    check_table(found, golden, f"vs_null_{version}", sorted_by="Test_vs_null_avg_shift")


def test_mixture_model(golden: Path, shifts: Shifts, names: Names) -> None:
    found = mixture_model(shifts("v2_delete_all"), names=names("v2"), mode="original")
    check_table(found, golden, "mixture_model_v2", sorted_by="Test_avg_shift")


def test_mixture_model_of_the_genes_that_an_anchor_affects(golden: Path, gene_shifts: Shifts, names: Names) -> None:
    genes = gene_shifts("v2_delete_all_and_gene")
    found = mixture_model(genes[genes["perturbed"] == 4], names=names("v2"), by="affected", mode="original")
    check_table(found, golden, "mixture_model_anchor_v2", sorted_by="Test_avg_shift")


def test_aggregate_data(golden: Path, shifts: Shifts, names: Names) -> None:
    check_table(
        aggregate_data(shifts("v2_delete_one"), names=names("v2")),
        golden,
        "aggregate_data_one_v2",
        sorted_by="Cosine_sim",
    )


@pytest.mark.parametrize("genes", ["all", "one", "pair"])
def test_aggregate_gene_shifts(golden: Path, shifts: Shifts, gene_shifts: Shifts, names: Names, genes: str) -> None:
    case = f"v2_delete_{genes}_and_gene"
    found = aggregate_gene_shifts(shifts(case), gene_shifts(case), names=names("v2"))
    check_table(found, golden, f"aggregate_gene_shifts_{genes}_v2", sorted_by="Cosine_sim_mean")


def test_screen_with_clear_effects(golden: Path, screen: dict[str, pd.DataFrame], names: Names) -> None:
    known = names("v2")
    states = goal_state_shift(screen["states"], "nf", ["hcm", "other"], names=known)
    check_table(states, golden, "screen_goal_state_shift", sorted_by="Shift_to_goal_end")
    check_table(
        vs_null(screen["test"], screen["null"], names=known),
        golden,
        "screen_vs_null",
        sorted_by="Test_vs_null_avg_shift",
    )
    check_table(
        mixture_model(screen["test"], names=known, mode="original"),
        golden,
        "screen_mixture_model",
        sorted_by="Test_avg_shift",
    )
    genes = aggregate_gene_shifts(screen["test"], screen["gene"], names=known)
    check_table(genes, golden, "screen_aggregate_gene_shifts", sorted_by="Cosine_sim_mean")


def simulated(effective: int, seed: int) -> pd.DataFrame:
    """Cosines of twenty genes in twenty cells each, the first few clearly below the others."""
    rng = np.random.default_rng(seed)
    gene = np.repeat(np.arange(20), 20)
    shift = np.where(gene < effective, 0.95, 0.995) + rng.normal(0, 0.003, len(gene))
    return pd.DataFrame({"perturbed": gene, "shift": shift})


TWENTY = pd.DataFrame({"Gene_name": [f"G{i}" for i in range(20)], "Ensembl_ID": [f"ENSG{i}" for i in range(20)]})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("effective", [2, 18])
def test_impact_is_the_component_of_the_lower_cosines(effective: int, seed: int) -> None:
    table = mixture_model(simulated(effective, seed), names=TWENTY)
    assert set(table["Gene"][table["Impact_component"] == 1]) == set(range(effective))


@pytest.mark.parametrize(("genes", "n"), [([1, 1, 1], 1), ([1, 2, 3], 3)])
def test_mixture_of_a_single_mean_is_an_error(genes: list[int], n: int) -> None:
    shifts = pd.DataFrame({"perturbed": genes, "shift": [0.5, 0.5, 0.5]})
    with pytest.raises(InputError, match=f"1 different mean shifts of {n} genes"):
        mixture_model(shifts, names=FIVE)


def test_missing_shifts_change_nothing() -> None:
    shifts = simulated(2, 0)
    missing = pd.DataFrame({"perturbed": [0, 3], "shift": [np.nan, np.nan]})
    more = pd.concat([shifts, missing], ignore_index=True)
    pd.testing.assert_frame_equal(mixture_model(more, names=TWENTY), mixture_model(shifts, names=TWENTY))
    goal = [goal_state_shift(one, "shift", names=TWENTY) for one in (more, shifts)]
    pd.testing.assert_frame_equal(*goal)


VALUES = st.lists(st.tuples(st.integers(0, 4), st.integers(-3, 3)), min_size=1, max_size=40)


def frame(values: list[tuple[int, int]]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["perturbed", "shift"]).astype({"shift": float})


@settings(max_examples=40)
@given(VALUES)
def test_p_value_against_all_genes_is_that_of_the_rank_sum_test(values: list[tuple[int, int]]) -> None:
    shifts = frame(values)
    table = goal_state_shift(shifts, "shift", names=FIVE).set_index("Gene")
    for gene, own in shifts.groupby("perturbed")["shift"]:
        assert table["Goal_end_vs_random_pval"][gene] == pytest.approx(ranksums(shifts["shift"], own).pvalue)


@settings(max_examples=40)
@given(VALUES, VALUES)
def test_p_value_against_the_null_is_that_of_the_rank_sum_test(
    test: list[tuple[int, int]], null: list[tuple[int, int]]
) -> None:
    table = vs_null(frame(test), frame(null), names=FIVE).set_index("Gene")
    of_null = dict(list(frame(null).groupby("perturbed")["shift"]))
    for gene, own in frame(test).groupby("perturbed")["shift"]:
        expected = ranksums(own, of_null[gene]).pvalue if gene in of_null else 1.0
        assert table["Test_vs_null_pval"][gene] == pytest.approx(expected)


def test_missing_values_are_left_out_of_the_test() -> None:
    test = pd.DataFrame({"perturbed": 0, "shift": [1.0, 2.0, np.nan, 4.0]})
    null = pd.DataFrame({"perturbed": 0, "shift": [np.nan, 3.0, 5.0]})
    row = vs_null(test, null, names=FIVE).iloc[0]
    assert row["Test_vs_null_pval"] == pytest.approx(ranksums([1, 2, 4], [3, 5]).pvalue)
    assert (row["N_Detections_test"], row["N_Detections_null"]) == (4, 3)


def test_only_the_original_draws_a_sample_of_many_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistics, "SAMPLE", 50)
    shifts = simulated(2, 0)
    own, original = (
        goal_state_shift(shifts, "shift", names=TWENTY, mode=mode).set_index("Gene")["Goal_end_vs_random_pval"]
        for mode in ("default", "original")
    )
    gene = shifts["shift"][shifts["perturbed"] == 0]
    assert own[0] == pytest.approx(ranksums(shifts["shift"], gene).pvalue)
    assert original[0] != own[0]
