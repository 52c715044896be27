"""``get.perturbations`` and what the plots of a screen read of its table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData, read_h5ad

import scfm_scverse as scfm
from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.get._perturbations import excess_matrix, screen_rows
from support import screen_table


def screened(table: pd.DataFrame, key: str = "scfm") -> AnnData:
    adata = AnnData(np.ones((3, 2), np.float32))
    adata.uns["scfm"] = {"rank_perturbations": {key: {"model_id": "toy:1", "table": table}}}
    return adata


def read(table: pd.DataFrame, group: str | list[str] | None = None, *, with_null: bool = True) -> pd.DataFrame:
    return screen_rows(table, key="scfm", group=group, with_null=with_null)


def test_table_is_a_copy_of_what_was_written() -> None:
    adata = screened(screen_table())
    table = scfm.get.perturbations(adata)
    pd.testing.assert_frame_equal(table, screen_table())
    table["score"] = 0
    pd.testing.assert_frame_equal(scfm.get.perturbations(adata), screen_table())


def test_table_survives_a_file(tmp_path: Path) -> None:
    screened(screen_table()).write_h5ad(tmp_path / "cells.h5ad")
    adata = read_h5ad(tmp_path / "cells.h5ad")
    columns = ["name", "group", "excess", "baseline"]
    expected = read(screen_table())[columns]
    found = screen_rows(adata, key="scfm", group=None, with_null=True)[columns]
    pd.testing.assert_frame_equal(found, expected, check_dtype=False)


def test_missing_screen_names_those_that_are_there_and_what_to_run() -> None:
    with pytest.raises(MissingKeyError, match=r"'other'.*screens found: 'scfm'.*scfm\.tl\.rank_perturbations"):
        scfm.get.perturbations(screened(screen_table()), key="other")
    with pytest.raises(MissingKeyError, match="screens found: none"):
        scfm.get.perturbations(AnnData(np.ones((2, 2), np.float32)))


def test_rows_that_were_not_tested_are_left_out() -> None:
    table = screen_table()
    rows = read(table)
    assert len(rows) == len(table) - 1
    assert (rows["status"] == "tested").all()
    np.testing.assert_allclose(rows["excess"], (table["score"] - table["null_mean"]).dropna())


def test_baseline_is_of_the_kind_of_the_score() -> None:
    table = screen_table()
    np.testing.assert_array_equal(read(table)["baseline"], table["baseline_shift"].dropna())
    of_effect = table.drop(columns=["shift_goal", "score_sd"]).assign(score=table["effect"])
    np.testing.assert_array_equal(read(of_effect)["baseline"], table["baseline_effect"].dropna())
    np.testing.assert_array_equal(read(of_effect)["score_sd"], table["effect_sd"].dropna())


def test_spread_of_effects_is_not_taken_for_that_of_shifts() -> None:
    assert read(screen_table().drop(columns="score_sd"))["score_sd"].isna().all()


def test_names_tell_the_kind_where_there_are_several() -> None:
    assert read(screen_table())["name"].tolist() == read(screen_table())["perturbation"].tolist()
    both = pd.concat([screen_table(), screen_table().assign(kind="activate")])
    assert {"ACTB (delete)", "ACTB (activate)"} <= set(read(both)["name"])


def test_groups_are_chosen_and_unknown_ones_named() -> None:
    assert set(read(screen_table(), "B cell")["group"]) == {"B cell"}
    assert set(read(screen_table(), ["B cell", "T cell"])["group"]) == {"B cell", "T cell"}
    with pytest.raises(InputError, match=r"group='NK cell'.*'T cell', 'B cell'"):
        read(screen_table(), "NK cell")


def test_table_of_untested_rows_says_why() -> None:
    table = screen_table().assign(status="too few cells")
    table.loc[0, "status"] = "not in the data"
    with pytest.raises(InputError, match="47 'too few cells', 1 'not in the data'"):
        read(table)


def test_other_tables_and_rows_given_twice_are_refused() -> None:
    with pytest.raises(InputError, match="without 'null_mean', 'fdr'"):
        read(screen_table().drop(columns=["null_mean", "fdr"]))
    with pytest.raises(InputError, match="'ACTB' twice in a group at one dose"):
        read(pd.concat([screen_table(), screen_table().head(1)]))


def test_rows_without_a_null_are_left_out_on_request() -> None:
    table = screen_table()
    table.loc[3, "null_mean"] = np.nan
    assert len(read(table, with_null=False)) == len(read(table)) + 1
    with pytest.raises(InputError, match="no perturbation with a null_mean"):
        read(table.assign(null_mean=np.nan))


def test_matrix_holds_the_farthest_from_their_null_and_nan_where_not_tested() -> None:
    table = screen_table()
    matrix = excess_matrix(read(table), "excess", 5)
    assert matrix.shape == (5, 2)
    assert list(matrix.columns) == [("T cell", 1.0), ("B cell", 1.0)]
    farthest = read(table).groupby("name")["excess"].agg(lambda values: values.abs().max())
    assert set(matrix.index) == set(farthest.nlargest(5).index)
    whole = excess_matrix(read(table), "excess", 100)
    assert whole.isna().sum().sum() == 1
    assert np.isnan(whole.loc[table["perturbation"].iloc[-1], ("B cell", 1.0)])
    assert list(excess_matrix(read(table), "fdr", 100).index) == list(whole.index)


def test_like_rows_stand_together_those_that_rise_first() -> None:
    table = screen_table(n=8)
    table["score"] = table["null_mean"] + np.tile([1, -1, 1, -1, 1, -1, 1, -1], 2)
    rows = excess_matrix(read(table), "excess", 8).mean(axis=1)
    np.testing.assert_allclose(rows, [1] * 4 + [-1] * 4)


def test_doses_rise_within_a_group() -> None:
    table = pd.concat([screen_table().assign(dose=dose) for dose in (1.0, 0.25, 0.5)])
    columns = list(excess_matrix(read(table), "excess", 3).columns)
    assert columns == [(group, dose) for group in ("T cell", "B cell") for dose in (0.25, 0.5, 1.0)]
