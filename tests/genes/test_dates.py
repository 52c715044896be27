"""Spreadsheet dates back to symbols."""

from __future__ import annotations

import pandas as pd
import pytest

from scfm_scverse.genes import load_gene_table, resolve_genes
from scfm_scverse.genes.dates import symbols_of_date


@pytest.mark.parametrize(
    "name", ["1-Mar", "Mar-1", "01-Mar", "1-MAR", "1.Mar", "X1.Mar", "1-March", "3/1", "03-01", "2023-03-01",
             "2023-03-01 00:00:00", "1-Mar-23", "3/1/2023"]
)  # fmt: skip
def test_writings_of_one_day(name: str) -> None:
    assert symbols_of_date(name) == ("MARCH1", "MARC1")


@pytest.mark.parametrize(
    "name", ["", "CD3D", "MART-1", "NKX2-1", "1-Apr", "13/2", "AC004556.1", "7SK", "MIR3-1", "5-8"]
)
def test_what_is_no_date_of_a_gene_has_no_symbol(name: str) -> None:
    assert symbols_of_date(name) == ()


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("7-Sep", "SEPTIN7"), ("1-Dec", "DELEC1"), ("15-Sep", "SELENOF"), ("Mar-10", "MARCHF10"), ("9/2", "SEPTIN2")],
)
def test_date_finds_its_gene(name: str, symbol: str) -> None:
    match = resolve_genes([name], organism="human")
    assert load_gene_table().symbol[match.rows].tolist() == [symbol]
    assert match.summary()["found_by"]["date"] == 1
    assert match.ambiguous == ()


def test_day_of_two_families_is_the_first_and_is_reported() -> None:
    match = resolve_genes(["CD3D", "1-Mar"])
    assert load_gene_table().symbol[match.rows[1]] == "MARCHF1"
    assert match.ambiguous == ("1-Mar -> MARCHF1",)


def test_day_of_two_families_is_the_other_one_where_the_data_name_the_first() -> None:
    match = resolve_genes(["MARCHF1", "1-Mar"])
    assert load_gene_table().symbol[match.rows].tolist() == ["MARCHF1", "MTARC1"]


def test_dates_agree_with_the_table_of_another_project(excel_dates: pd.Series) -> None:
    table = load_gene_table()
    differing = set()
    for seen, approved in excel_dates.items():
        row = int(resolve_genes([seen], organism="human").rows[0])
        if row < 0 or table.symbol[row] not in approved:
            differing |= approved
    # OCT4 is an alias: no data set carries it as the symbol of POU5F1, so no date of October stands for a gene.
    assert differing == {"POU5F1"}
