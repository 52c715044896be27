"""What counts as agreement with the authors' labels."""

from __future__ import annotations

import pandas as pd
import pytest

from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.cli._agreement import BULK_LABELS, agreement, terms_of_labels
from scfm_scverse.ontology import load_ontology
from support import small_counts

T_CELL, CD4, LYMPHOCYTE = "CL:0000084", "CL:0000624", "CL:0000542"
B_CELL, MONOCYTE = "CL:0000236", "CL:0000576"


def test_labels_of_the_demo_are_terms_of_the_ontology() -> None:
    ontology = load_ontology()
    assert all(ontology.current(term) == term for term in BULK_LABELS.values())
    assert ontology.name[BULK_LABELS["CD56+ NK"]] == "natural killer cell"


def test_answers_are_judged_along_the_ontology_over_the_cells_whose_label_is_known() -> None:
    adata = small_counts(10)
    adata.obs["author"] = ["T cells"] * 4 + ["B cell"] * 4 + ["my favourites"] * 2
    terms = [T_CELL, LYMPHOCYTE, "unknown", MONOCYTE, B_CELL, B_CELL, LYMPHOCYTE, CD4, T_CELL, T_CELL]
    names = {"unknown": "unknown"} | load_ontology().name
    adata.obs["k_cell_type"] = pd.Categorical([names[term] for term in terms])
    adata.obs["k_cell_type_ontology"] = pd.Categorical(terms)
    known = terms_of_labels(adata, "author")
    assert known == {"T cells": T_CELL, "B cell": B_CELL}
    summary, by_label = agreement(adata, "k", "author", known)
    assert "over 8 of 10 cells" in summary
    assert " 37.5%  the same type" in summary
    assert " 25.0%  a broader one" in summary
    assert " 12.5%  unknown" in summary
    _, _, b_cells, t_cells = by_label.splitlines()
    assert b_cells.split() == ["B", "cell", "4", "50%", "25%", "B", "cell", "(2)"]
    assert t_cells.split()[:5] == ["T", "cells", "4", "25%", "25%"]


def test_an_answer_finer_than_the_label_agrees() -> None:
    adata = small_counts(2)
    adata.obs["author"] = "T cell"
    adata.obs["k_cell_type"] = ["CD4-positive, alpha-beta T cell"] * 2
    adata.obs["k_cell_type_ontology"] = CD4
    assert "100.0%  the same type" in agreement(adata, "k", "author", {"T cell": T_CELL})[0]


def test_labels_that_cannot_be_looked_up_are_an_error() -> None:
    adata = small_counts(4)
    adata.obs["author"] = ["cluster 1", "cluster 2", "cluster 1", "cluster 2"]
    with pytest.raises(InputError, match="None of the 2 labels"):
        terms_of_labels(adata, "author")
    with pytest.raises(MissingKeyError, match="'author'"):
        terms_of_labels(adata, "label")
