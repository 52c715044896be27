"""Names of perturbations are read and written as pertpy and GEARS have them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scfm_scverse._errors import InputError
from scfm_scverse.perturbation.names import (
    CONTROLS,
    gears_condition,
    parse_perturbation,
    pertpy_name,
    perturbations_of,
)

GENE = st.text(st.characters(categories=["Lu", "Ll", "Nd"], include_characters="-._"), min_size=1, max_size=8)
GENES = st.lists(GENE.filter(lambda name: name not in (*CONTROLS, "NT")), max_size=4, unique=True).map(tuple)


@pytest.mark.parametrize(
    ("written", "genes"),
    [
        ("STAT1", ("STAT1",)),
        ("STAT1+ctrl", ("STAT1",)),
        ("ctrl+STAT1", ("STAT1",)),
        ("STAT1+JAK2", ("STAT1", "JAK2")),
        (" JAK2 + STAT1 ", ("JAK2", "STAT1")),
        ("A+B+C", ("A", "B", "C")),
        ("HLA-A", ("HLA-A",)),
        ("H1.2+HLA-DRB1", ("H1.2", "HLA-DRB1")),
        ("CTRL", ("CTRL",)),
        ("Ctrl+ctrl", ("Ctrl",)),
        ("ctrl", ()),
        ("control", ()),
        ("non-targeting", ()),
        (["STAT1", " JAK2"], ("STAT1", "JAK2")),
        (("STAT1", "ctrl"), ("STAT1",)),
        ((), ()),
        (np.array(["STAT1", "JAK2"]), ("STAT1", "JAK2")),
        (pd.Index(["STAT1"]), ("STAT1",)),
    ],
)
def test_perturbation_is_read(written: object, genes: tuple[str, ...]) -> None:
    found = parse_perturbation(written)  # type: ignore[arg-type]
    assert found == genes
    assert all(type(name) is str for name in found)


def test_label_of_controls_may_be_named() -> None:
    assert parse_perturbation("NT") == ("NT",)
    assert parse_perturbation("NT", control="NT") == ()
    assert parse_perturbation("STAT1+NT", control="NT") == ("STAT1",)
    assert parse_perturbation("no+virus", control="no+virus") == ()


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("", "empty name in the perturbation ''"),
        ("STAT1+", "empty name in the perturbation 'STAT1+'"),
        ("STAT1++JAK2", "empty name"),
        (["STAT1", " "], "empty name"),
        ("STAT1+STAT1", "'STAT1' twice"),
        (["JAK2", "STAT1", "JAK2 "], "'JAK2' twice"),
        (["STAT1+JAK2", "IRF1"], "'STAT1+JAK2' among the genes"),
        (5, "5 (int)"),
        (None, "None (NoneType)"),
        (["STAT1", 5], "5 (int)"),
        ([["STAT1"], ["JAK2"]], "['STAT1'] (list)"),
        (float("nan"), "nan (float)"),
        (b"STAT1", "(bytes)"),
        ({"STAT1": 1}, "(dict)"),
        ({"STAT1"}, "(set)"),
    ],
)
def test_what_is_no_perturbation_is_refused(written: object, told: str) -> None:
    with pytest.raises(InputError) as error:
        parse_perturbation(written)  # type: ignore[arg-type]
    assert told in str(error.value)
    assert "expected" in str(error.value)


@given(GENES)
def test_names_are_read_as_they_were_written(genes: tuple[str, ...]) -> None:
    assert parse_perturbation(gears_condition(genes)) == genes
    assert parse_perturbation(pertpy_name(genes)) == genes
    assert parse_perturbation(pertpy_name(genes, control="NT"), control="NT") == genes
    assert parse_perturbation(genes) == genes


@given(GENES)
def test_conditions_of_gears_hold_a_plus_unless_control(genes: tuple[str, ...]) -> None:
    assert gears_condition(genes).count("+") == (0 if not genes else max(1, len(genes) - 1))


@pytest.mark.parametrize("kind", ["category", object])
@pytest.mark.parametrize("label", CONTROLS)
def test_column_gives_its_perturbations_and_controls(kind: object, label: str) -> None:
    cells = pd.Series(["B+A", label, "A+B", None, "A", label, "A+ctrl"], dtype=kind)
    found, is_control = perturbations_of(cells)
    assert found == [("A",), ("A", "B")]
    assert is_control.dtype == bool
    assert is_control.tolist() == [False, True, False, False, False, True, False]


def test_label_asked_for_is_the_only_control() -> None:
    cells = pd.Series(["NT", "control", "A"])
    found, is_control = perturbations_of(cells, "NT")
    assert (found, is_control.tolist()) == ([("A",)], [True, False, False])
    found, is_control = perturbations_of(cells)
    assert (found, is_control.tolist()) == ([("A",), ("NT",)], [False, True, False])
    assert perturbations_of(pd.Series(["ctrl", "non-targeting", "A"]), None)[1].tolist() == [True, True, False]


def test_categories_without_cells_are_no_perturbations() -> None:
    cells = pd.Series(pd.Categorical(["ctrl", "A"], categories=["A", "B", "control", "ctrl"]))
    assert perturbations_of(cells)[0] == [("A",)]


@pytest.mark.parametrize("control", ["control", "NT", None])
def test_missing_control_is_told_with_the_labels_there_are(control: str | None) -> None:
    cells = pd.Series([f"G{number}" for number in range(10)], name="target")
    with pytest.raises(InputError, match=r"column 'target'.*'G0', 'G1', .* and 2 more;.*Pass control=") as error:
        perturbations_of(cells, control)
    assert repr(control or "control") in str(error.value)
    with pytest.raises(InputError, match="labels are missing"):
        perturbations_of(pd.Series([None, float("nan")], name="target"), control)


def test_label_asked_for_in_vain_is_no_other_label() -> None:
    with pytest.raises(InputError, match="no control 'NT'"):
        perturbations_of(pd.Series(["control", "A"]), "NT")


def test_labels_that_are_no_perturbations_are_refused() -> None:
    with pytest.raises(InputError, match=r"7 \(int\)"):
        perturbations_of(pd.Series(["control", 7]))
