"""What counts as agreement with the authors' labels."""

from __future__ import annotations

import pandas as pd
import pytest

from scfm_scverse._errors import InputError, MissingKeyError
from scfm_scverse.cli._agreement import BULK_LABELS, Judge, agreement, default_judge, terms_of_labels
from scfm_scverse.ontology import load_ontology
from support import small_counts

HELPER, CD8, TREG = "CL:0000492", "CL:0000625", "CL:0000792"
T_CELL, B_CELL, MONOCYTE, DENDRITIC, CELL = "CL:0000084", "CL:0000236", "CL:0000576", "CL:0000451", "CL:0000000"


@pytest.fixture(scope="module")
def judge() -> Judge:
    return default_judge()


@pytest.mark.parametrize(
    ("answer", "term", "compatible", "same_branch"),
    [
        ("T cell", T_CELL, True, True),
        ("T cell", CD8, True, True),  # above, inside the branch
        ("T or NK cell", TREG, True, True),  # the branch itself
        ("plasmacytoid dendritic cell", DENDRITIC, True, False),  # below, though a branch of its own
        ("CD4-positive helper T cell", CD8, False, True),
        ("lymphocyte", B_CELL, False, False),  # above, but broader than a branch
        ("plasma cell", B_CELL, False, False),
        ("monocyte", B_CELL, False, False),
        ("unknown", T_CELL, False, False),
    ],
)
def test_an_answer_is_judged_along_the_ontology(
    judge: Judge, answer: str, term: str, compatible: bool, same_branch: bool
) -> None:
    assert answer == "unknown" or answer in judge.branch_of_answer
    assert judge.compatible(answer, term) is compatible
    assert judge.same_branch(answer, term) is same_branch


def test_terms_without_a_class_above_them_have_no_branch(judge: Judge) -> None:
    assert judge.branch_of_term(CELL) is None
    assert judge.branch_of_term(MONOCYTE) == judge.branch_of_answer["monocyte"]


def test_labels_of_the_demo_are_terms_of_the_ontology() -> None:
    ontology = load_ontology()
    assert all(ontology.current(term) == term for term in BULK_LABELS.values())
    assert ontology.name[BULK_LABELS["CD56+ NK"]] == "natural killer cell"


def test_shares_are_over_the_cells_whose_label_is_known() -> None:
    adata = small_counts(10)
    adata.obs["author"] = ["T cell"] * 4 + ["B cell"] * 4 + ["my favourites", "cell"]
    adata.obs["k_cell_type"] = pd.Categorical(
        ["T cell", "T or NK cell", "unknown", "monocyte", *["B cell"] * 4, "T cell", "T cell"]
    )
    terms = terms_of_labels(adata, "author")
    assert terms == {"T cell": T_CELL, "B cell": B_CELL}
    summary, by_label = agreement(adata, "k", "author", terms)
    assert "over 8 of 10 cells" in summary
    assert "75.0%  compatible:" in summary
    assert "(12.5% name just the branch)" in summary
    assert "75.0%  compatible, or of the right branch" in summary
    _, _, b_cells, t_cells = by_label.splitlines()
    assert b_cells.split() == ["B", "cell", "4", "100%", "100%", "B", "cell", "(4)"]
    assert t_cells.split()[:5] == ["T", "cell", "4", "50%", "50%"]


def test_labels_that_cannot_be_looked_up_are_an_error() -> None:
    adata = small_counts(4)
    adata.obs["author"] = ["cluster 1", "cluster 2", "cluster 1", "cluster 2"]
    with pytest.raises(InputError, match="None of the 2 labels"):
        terms_of_labels(adata, "author")
    with pytest.raises(MissingKeyError, match="'author'"):
        terms_of_labels(adata, "label")
