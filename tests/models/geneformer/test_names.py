"""Names of a data set find their tokens in the published vocabularies."""

from __future__ import annotations

import numpy as np
import pytest

from scfm_scverse.genes import resolve_genes
from scfm_scverse.models.geneformer.dictionaries import Dictionaries, shipped
from scfm_scverse.models.geneformer.names import merges, original_slots, place_genes, place_originally, rows_of_genes

VERSIONS = pytest.mark.parametrize("version", ["V1", "V2"])


def place(names: list[str], version: str, ids: list[str] | None = None, organism=None) -> list[str]:
    tables = shipped(version)
    match = resolve_genes(names, ids=ids, organism=organism)
    at = place_genes(match, ids, tables, rows_of_genes(tables.genes))
    return ["" if one < 0 else str(tables.genes[one]) for one in at]


@VERSIONS
def test_symbols_ids_and_versions_find_their_gene(version: str) -> None:
    cd3d = "ENSG00000167286"
    assert place(["CD3D", "ENSG00000167286", "ENSG00000167286.9", "cd3e"], version) == [cd3d] * 3 + ["ENSG00000198851"]
    assert place(["x1", "x2"], version, ids=[cd3d, f"{cd3d}.4"]) == [cd3d, cd3d]


@pytest.mark.parametrize(("version", "share"), [("V1", 0.86), ("V2", 0.97)])  # V1 has 3,364 retired ids without a name
def test_most_of_the_vocabulary_is_known_to_the_gene_table(version: str, share: float) -> None:
    tables = shipped(version)
    rows = rows_of_genes(tables.genes)
    assert (rows[~tables.special] >= 0).mean() > share
    assert (rows[tables.special] == -1).all()


def test_authors_names_and_outdated_ids_are_found_in_v2() -> None:
    tables = shipped("V2")
    outdated = [name for name in tables.mapping if name.startswith("ENSG")]
    assert len(outdated) == 3423
    assert place(outdated, "V2") == tables.genes[[tables.mapping[name] for name in outdated]].tolist()
    assert place(["T245", "CD3D"], "V2") == ["ENSG00000000003", "ENSG00000167286"]


def test_an_authors_name_gives_way_to_a_column_that_is_the_gene() -> None:
    table = shipped("V2")
    known = resolve_genes([name for name in table.mapping if not name.startswith("ENS")])
    unknown = known.names[int(np.flatnonzero((known.rows < 0) & known.is_gene)[0])]
    gene = str(table.genes[table.mapping[unknown]])
    others = ["ENSG00000167286", "ENSG00000198851"]
    assert place([unknown, *others], "V2", organism="human") == [gene, *others]
    assert place([unknown, gene, *others], "V2", organism="human") == ["", gene, *others]


@VERSIONS
def test_mouse_genes_stand_for_their_orthologs(version: str) -> None:
    assert place(["Cd3d", "Cd3e", "Actb"], version) == ["ENSG00000167286", "ENSG00000198851", "ENSG00000075624"]


def test_a_mouse_vocabulary_is_found_by_its_own_ids_and_by_orthologs() -> None:
    genes = np.array(["<pad>", "<mask>", "ENSMUSG00000032094", "ENSMUSG00000999999"])
    tables = Dictionaries("V1", genes, np.array([np.nan, np.nan, 1, 1]), {}, "test")
    rows = rows_of_genes(genes)
    for names, expected in (
        (["ENSMUSG00000032094.8", "ENSMUSG00000999999"], [2, 3]),
        (["Cd3d", "Cd3e"], [2, -1]),
        (["CD3D", "CD3E"], [2, -1]),
    ):
        assert place_genes(resolve_genes(names), None, tables, rows).tolist() == expected


def test_original_finds_names_by_its_mapping_alone() -> None:
    names = ["ENSG00000167286", "ensg00000167286", "ENSG00000167286.9", "T245", "t245"]
    tokens = [shipped(version).token["ENSG00000167286"] for version in ("V1", "V2")]
    other = shipped("V2").token["ENSG00000000003"]
    assert place_originally(names, shipped("V1")).tolist() == [tokens[0], tokens[0], -1, -1, -1]
    assert place_originally(names, shipped("V2")).tolist() == [tokens[1], tokens[1], -1, other, other]


def test_original_merges_only_where_written_names_outnumber_their_genes() -> None:
    gene, other = "ENSG00000167286", "ENSG00000000003"
    tables = shipped("V2")
    assert not merges([gene, gene, other, gene.lower()], tables)
    assert merges([gene, gene, other, "T245"], tables)
    vocabulary = np.array([7, -1, 9, 7, 8, 9, 5], np.int32)
    slots, genes = original_slots(vocabulary, merge=False)
    assert (slots.tolist(), genes.tolist()) == ([0, -1, 1, 2, 3, 4, 5], [7, 9, 7, 8, 9, 5])
    slots, genes = original_slots(vocabulary, merge=True)
    assert (slots.tolist(), genes.tolist()) == ([2, -1, 3, 2, 0, 3, 1], [8, 5, 7, 9])
