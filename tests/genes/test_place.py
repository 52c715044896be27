"""Names of a data set in the vocabulary of a model: as written first, then by what they mean."""

from __future__ import annotations

import numpy as np
import pytest

from scfm_scverse.genes import place_names, resolve_genes

SYMBOLS = np.array(["<pad>", "CD3D", "MARCHF1", "MT-ATP6__chrM", "MT-ATP6", "ENSG00000283675.1", "QARS1"])


def entries(names: list[str], vocabulary: np.ndarray = SYMBOLS, ids: list[str] | None = None) -> list[str]:
    """What each name stands for in a vocabulary of symbols, "" for nothing."""
    at = place_names(resolve_genes(names, ids=ids), ids, vocabulary, resolve_genes(vocabulary.tolist()).rows)
    return [str(vocabulary[one]) if one >= 0 else "" for one in at]


def test_name_that_is_written_in_the_vocabulary_stands_for_itself() -> None:
    assert entries(["MT-ATP6", "CD3D", "ENSG00000283675.1"]) == ["MT-ATP6", "CD3D", "ENSG00000283675.1"]


def test_other_names_stand_for_their_gene() -> None:
    assert entries(["MARCH1", "ENSG00000167286.9", "QARS", "NOTAGENE"]) == ["MARCHF1", "CD3D", "QARS1", ""]


def test_id_beside_the_name_is_looked_up_too() -> None:
    known = np.array(["ENSG00000167286", "ENSG00000900001"])
    found = entries(["unnamed one", "GEN1"], known, ids=["ENSG00000167286", "ENSG00000900001"])
    assert found == ["ENSG00000167286", "ENSG00000900001"]


@pytest.mark.parametrize(("names", "expected"), [(["CD3D", "cd3d"], ["CD3D", ""]), (["cd3d", "CD4"], ["CD3D", ""])])
def test_another_letter_case_counts_only_where_the_gene_is_not_named(names: list[str], expected: list[str]) -> None:
    assert entries(names) == expected


def test_old_and_new_name_of_a_gene_share_its_entry() -> None:
    assert entries(["MARCH1", "MARCHF1"]) == ["MARCHF1", "MARCHF1"]


def test_mouse_genes_stand_for_their_orthologs_and_no_name_is_taken_as_written() -> None:
    assert entries(["Cd3d", "Cd4", "Gapdh", "Marchf1"]) == ["CD3D", "", "", "MARCHF1"]


def test_special_tokens_are_no_genes() -> None:
    assert entries(["<pad>", "CD3D"]) == ["", "CD3D"]
