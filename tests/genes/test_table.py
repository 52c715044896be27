"""The gene table: what it holds, how it is looked up, that the script makes exactly it."""

from __future__ import annotations

import runpy
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scfm_scverse.genes import GeneTable, load_gene_table
from scfm_scverse.genes.table import ensembl_numbers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table() -> GeneTable:
    return load_gene_table()


def test_table_is_small_and_read_once(table: GeneTable) -> None:
    stored = files("scfm_scverse.genes").joinpath("data", "genes.npz.xz").read_bytes()
    assert len(stored) < 2_500_000
    assert load_gene_table() is table


def test_table_cannot_be_changed(table: GeneTable) -> None:
    with pytest.raises(ValueError, match="read-only"):
        table.start[0] = 1


def test_human_arrays_are_parallel_and_sorted(table: GeneTable) -> None:
    lengths = {len(array) for array in (table.symbol, table.ensembl, table.biotype, table.chromosome, table.start)}
    assert lengths == {len(table)}
    assert (np.diff(table.ensembl_number) > 0).all()
    assert (np.diff(table.mouse_ensembl) > 0).all()


def test_table_agrees_with_gencode(table: GeneTable, shared: Path) -> None:
    genes = pd.read_parquet(shared / "data" / "genes" / "human_genes.parquet")
    rows = table.rows_of_ensembl(genes["ensembl"])
    assert (rows >= 0).all()
    assert (table.symbol[rows] == genes["symbol"]).all()
    itself = table.ensembl[rows] == genes["ensembl"]
    placed = itself & genes["chromosome"].notna()
    assert (table.biotype[rows] == genes["biotype"].astype(str))[itself].all()
    assert (table.chromosome[rows] == genes["chromosome"].astype(str))[placed].all()
    assert (table.start[rows] == genes["start"])[placed].all()
    # A second id is joined to a gene of the same symbol only; there are few.
    assert 0 < (~itself).sum() < 0.01 * len(genes)


def test_script_makes_the_table_that_is_committed(shared: Path) -> None:
    build = runpy.run_path(str(ROOT / "scripts" / "build_gene_table.py"))["build"]
    made = build(shared / "data" / "genes")
    stored = load_gene_table()
    assert np.array_equal(np.cumsum(made["ensembl"].astype(np.int64)), stored.ensembl_number)
    for name in ("previous_row", "alias_row", "mouse_human_row", "mouse_older_row", "other_ensembl_row", "start"):
        assert np.array_equal(made[name], getattr(stored, name)), name
    for name in ("previous", "alias", "taken", "mouse_symbol", "mouse_older"):
        assert made[name].tobytes().decode().split("\n") == getattr(stored, name).tolist(), name


@pytest.mark.parametrize(
    ("given", "symbol"),
    [
        ("ENSG00000167286", "CD3D"),
        ("ENSG00000167286.9", "CD3D"),
        ("ENSG00000002586_PAR_Y", "CD99"),
        ("ENSG00000002586.20_PAR_Y", "CD99"),
        ("ensg00000167286", "CD3D"),
        # The id that GENCODE gives the copy on chromosome Y.
        ("ENSG00000292348", "CD99"),
        # The id of PAXX in 2020.
        ("ENSG00000148362", "PAXX"),
    ],
)
def test_ensembl_id_finds_its_gene(table: GeneTable, given: str, symbol: str) -> None:
    assert table.symbol[table.rows_of_ensembl([given])].tolist() == [symbol]


@pytest.mark.parametrize(
    "given", ["", "CD3D", "ENSG", "ENSG00000000000", "ENSG99999999999", "ENST00000167286", "ENSMUSG00000032094"]
)
def test_what_is_no_human_gene_id_has_no_row(table: GeneTable, given: str) -> None:
    assert table.rows_of_ensembl([given]).tolist() == [-1]


def test_no_ids_give_no_rows(table: GeneTable) -> None:
    assert table.rows_of_ensembl([]).shape == (0,)


def test_ids_of_mouse_are_told_apart() -> None:
    numbers, of_mouse = ensembl_numbers(["ENSG00000000003", "ENSMUSG00000000001.5", "Gnai3"])
    assert numbers.tolist() == [3, 1, -1]
    assert of_mouse.tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("mouse", "human"),
    [
        ("Cd3d", "CD3D"),
        ("Trp53", "TP53"),
        ("mt-Nd1", "MT-ND1"),
        # Ensembl pairs these with copies of the gene; the letters tell.
        ("Rps18", "RPS18"),
        ("Gzmb", "GZMB"),
        ("H19", "H19"),
    ],
)
def test_mouse_symbol_has_its_ortholog(table: GeneTable, mouse: str, human: str) -> None:
    assert table.symbol[table.human_row_of_mouse[mouse]] == human


@pytest.mark.parametrize("mouse", ["H2-K1", "Gm1992", "Ly6c2"])
def test_mouse_gene_without_ortholog_is_known(table: GeneTable, mouse: str) -> None:
    assert table.human_row_of_mouse[mouse] == -1


def test_orthologs_are_one_to_one(table: GeneTable) -> None:
    rows = table.mouse_human_row[table.mouse_human_row >= 0]
    assert len(np.unique(rows)) == len(rows)
    assert table.has_mouse_ortholog.sum() == len(rows)


def test_orthologs_agree_with_ensembl_where_two_sources_do(table: GeneTable, shared: Path) -> None:
    pairs = pd.read_csv(
        shared / "data" / "genes" / "human_mouse_orthologs.tsv.gz", sep="\t", dtype=str, keep_default_na=False
    )
    sure = pairs[(pairs["one_to_one_ensembl"] == "True") & (pairs["n_sources"].astype(int) >= 2)]
    sure = sure[sure["human"].isin(table.row_of_symbol) & sure["mouse"].isin(table.human_row_of_mouse)]
    agree = [table.human_row_of_mouse[pair.mouse] == table.row_of_symbol[pair.human] for pair in sure.itertuples()]
    assert len(agree) > 14_000
    assert all(agree)


def test_no_name_is_both_approved_and_old(table: GeneTable) -> None:
    levels = [set(table.row_of_symbol), set(table.rows_of_previous), set(table.rows_of_alias), table.taken_names]
    for i, names in enumerate(levels):
        assert names.isdisjoint(set().union(*levels[i + 1 :]))
