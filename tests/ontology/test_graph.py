"""The Cell Ontology: whole, without cycles, names that lead to their terms."""

from __future__ import annotations

import pytest

from scfm_scverse._errors import InputError
from scfm_scverse.ontology import CellOntology, load_ontology
from scfm_scverse.ontology.graph import ROOT

T_CELL, CD4_T_CELL, B_CELL, LYMPHOCYTE = "CL:0000084", "CL:0000624", "CL:0000236", "CL:0000542"


@pytest.fixture(scope="module")
def cl() -> CellOntology:
    return load_ontology()


def test_every_term_leads_to_the_root(cl: CellOntology) -> None:
    assert len(cl.name) > 2500
    # The release also holds a few parts of cells ("banded nucleus"), whose parents are in another ontology.
    outside = [term for term, parents in cl.parents.items() if parents and ROOT not in cl.ancestors(term)]
    assert outside == []
    assert sum(not parents for parents in cl.parents.values()) < 10


def test_ancestors_are_those_of_the_parents_and_the_term_itself(cl: CellOntology) -> None:
    for term, parents in cl.parents.items():
        above = frozenset({term}).union(*(cl.ancestors(parent) for parent in parents))
        assert cl.ancestors(term) == above
        assert term not in {other for parent in parents for other in cl.ancestors(parent)}


def test_known_types_stand_in_their_order(cl: CellOntology) -> None:
    assert cl.name[T_CELL] == "T cell"
    assert cl.is_a(CD4_T_CELL, T_CELL)
    assert cl.is_a(CD4_T_CELL, LYMPHOCYTE)
    assert cl.is_a(B_CELL, B_CELL)
    assert not cl.is_a(T_CELL, CD4_T_CELL)
    assert not cl.is_a(B_CELL, T_CELL)


def test_names_lead_to_their_terms_and_win_over_synonyms(cl: CellOntology) -> None:
    assert cl.term_of_name["t cell"] == T_CELL
    assert cl.term_of_name["t-cell"] == T_CELL
    wrong = [term for term, name in cl.name.items() if cl.name[cl.term_of_name[name.lower()]].lower() != name.lower()]
    assert wrong == []


def test_retired_terms_lead_to_living_ones(cl: CellOntology) -> None:
    assert cl.replaced
    assert not set(cl.replaced) & set(cl.name)
    led = {old: new for old, new in cl.replaced.items() if new in cl.name}
    assert len(led) > 0.9 * len(cl.replaced)
    for old, new in led.items():
        assert cl.current(old) == new
        assert cl.ancestors(old) == cl.ancestors(new)


@pytest.mark.parametrize("term", ["CL:9999999", "CL:0000073", "T cell", "", "unknown"])
def test_unknown_term_is_an_error(cl: CellOntology, term: str) -> None:
    with pytest.raises(InputError, match=rf"{term!r} is not a living term"):
        cl.ancestors(term)
