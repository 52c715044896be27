"""Labels as people write them, and the terms that they stand for: rather none than a wrong one."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from scfm_scverse.ontology import load_ontology
from scfm_scverse.ontology.abbreviations import AMBIGUOUS, LABELS, WORDS
from scfm_scverse.ontology.match import match_labels


@pytest.mark.parametrize(
    ("label", "name", "how"),
    [
        ("T cell", "T cell", "name"),
        ("nk cell", "natural killer cell", "abbreviation"),
        ("B lymphocyte", "B cell", "synonym"),
        ("T", "T cell", "spelling"),
        ("B cells", "B cell", "spelling"),
        ("CD8+ T", "CD8-positive, alpha-beta T cell", "spelling"),
        ("CD4 T cells", "CD4-positive, alpha-beta T cell", "spelling"),
        ("T_CD4", "CD4-positive, alpha-beta T cell", "spelling"),
        ("Memory CD4 T", "CD4-positive, alpha-beta memory T cell", "spelling"),
        ("CD4+/CD25+ Treg", "CD4-positive, CD25-positive, alpha-beta regulatory T cell", "abbreviation"),
        ("naïve B", "naive B cell", "spelling"),
        ("γδ T cells", "gamma-delta T cell", "spelling"),
        ("Mono CD14", "CD14-positive monocyte", "abbreviation"),
        ("FCGR3A+ Mono", "CD14-low, CD16-positive monocyte", "abbreviation"),
        ("Tregs", "regulatory T cell", "abbreviation"),
        ("pDC", "plasmacytoid dendritic cell", "abbreviation"),
        ("DC", "dendritic cell", "abbreviation"),
        ("NK", "natural killer cell", "abbreviation"),
        ("fibroblasts", "fibroblast", "spelling"),
        ("Endothelial", "endothelial cell", "spelling"),
        ("alpha", "pancreatic A cell", "abbreviation"),
        ("CD56+ NK", "natural killer cell", "general"),
        ("Macrophages 2", "macrophage", "general"),
        ("Fibro-COL11A1", "fibroblast", "general"),
        ("T cells (sorted)", "T cell", "general"),
        ("T cell GNLY high", "T cell", "general"),
        ("proliferating macrophages", "cycling macrophage", "spelling"),
        ("activated B", "B cell", "general"),
    ],
)
def test_common_labels_find_their_term(label: str, name: str, how: str) -> None:
    (found,) = match_labels([label])
    assert (found.name, found.how) == (name, how)
    assert load_ontology().name[found.term] == name


@pytest.mark.parametrize(
    "label",
    ["", "12", "cluster 7", "unknown", "doublet", "Macrophage/Monocyte", "T Cell & Tumor Hybrid", "non-T", "not T cell",
     "B cell lymphoma", "IC", "VIP", "M", "CD34+", "stellate", "B lineage", "T cell, CD4/CD8 unclear"],
)  # fmt: skip
def test_what_is_no_label_or_two_finds_none(label: str) -> None:
    (found,) = match_labels([label])
    assert (found.term, found.name, found.how) == ("", "", "none")


@pytest.mark.parametrize("label", ["HSC", "DC2", "EC", "endo"])
def test_label_that_may_mean_several_terms_gets_none_and_names_them(label: str) -> None:
    (found,) = match_labels([label])
    assert found.term == ""
    assert len(found.candidates) > 1
    assert set(found.candidates) <= set(load_ontology().name)


def test_every_name_of_the_ontology_is_itself() -> None:
    ontology = load_ontology()
    found = match_labels(ontology.name.values())
    assert [one.name.lower() for one in found] == [name.lower() for name in ontology.name.values()]
    assert {one.how for one in found} == {"name"}


def test_case_and_order_of_words_do_not_matter() -> None:
    for label in ("cd8+ memory t CELLS", "Memory T, CD8+", "T cells memory CD8"):
        assert match_labels([label])[0].name == "CD8-positive, alpha-beta memory T cell"


def test_own_lists_lead_to_living_terms_and_do_not_contradict_each_other() -> None:
    ontology = load_ontology()
    assert set(LABELS.values()) <= set(ontology.name)
    assert {term for terms in AMBIGUOUS.values() for term in terms} <= set(ontology.name)
    assert not set(AMBIGUOUS) & set(WORDS)
    unused = {"ctl", "dp", "mem", "prog", "reg", "tcm", "tem"}  # parts of labels, or no class of their own
    alone = [word for word in WORDS if "=" not in word and word not in unused]
    assert [word for word in alone if not match_labels([word])[0].term] == []


def test_labels_of_authors_are_hardly_ever_taken_for_something_else(shared: Path) -> None:
    ontology = load_ontology()
    tables = [pd.read_csv(shared / f"data/cells/labels_{part}.tsv", sep="\t", keep_default_na=False) for part in "ABC"]
    tables += [
        pd.read_csv(shared / f"data/profiles/{name}.tsv", sep="\t", keep_default_na=False).rename(
            columns={"label": "author_label"}
        )
        for name in ("human_tissue_profiles", "hcl_profiles", "mouse_tissue_profiles")
    ]
    pairs = pd.concat(tables)[["author_label", "cl_id"]].drop_duplicates()
    pairs = pairs[pairs["cl_id"].isin(list(ontology.name))]
    found = match_labels(pairs["author_label"])
    matched = [(one.term, truth) for one, truth in zip(found, pairs["cl_id"], strict=True) if one.term]
    assert len(matched) > 0.7 * len(pairs)
    right = [ontology.is_a(truth, term) for term, truth in matched]
    wrong = [not (ontology.is_a(truth, term) or ontology.is_a(term, truth)) for term, truth in matched]
    assert sum(right) > 0.96 * len(matched)
    assert sum(wrong) < 0.01 * len(matched)
