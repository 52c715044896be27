"""The page on perturbation tells what the code does, and numbers that the tutorial prints."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import nbformat
import pytest

import scfm_scverse as scfm
from scfm_scverse.models import load
from scfm_scverse.perturbation.expression_space import MAX_CELLS, ExpressionSpace
from scfm_scverse.perturbation.null import MATCHED
from scfm_scverse.perturbation.significance import MIN_DONORS
from scfm_scverse.tl import _perturbation, _screen_plan, _screen_run
from support import small_counts

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/guides/perturbation.md").read_text(encoding="utf-8")
TINY = ROOT / "tutorials" / "tiny_checkpoints"


def _rows(first_cell: str) -> list[list[str]]:
    """Cells of the table whose first header is given."""
    found = re.search(rf"^\| {first_cell} \|.*\n\|[-:| ]+\|\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    assert found is not None
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found[1].splitlines()]


def test_columns_are_those_of_the_table() -> None:
    adata = small_counts(40)
    adata.obs["state"] = ["a", "b", "other", "a"] * 10
    table = scfm.tl.rank_perturbations(
        adata, state_key="state", goal="a", start="b", alternative="other", min_cells=2, n_null=5
    )
    told = [name for row in _rows("column") for name in re.findall(r"`([^`]+)`", row[0])]
    assert sorted(told) == sorted("shift_<alternative>" if name == "shift_other" else name for name in table.columns)


def test_every_status_is_explained() -> None:
    words = {_screen_run.TESTED, _screen_run.TOO_FEW, _screen_run.IN_NO_CELL, _screen_run.NO_GOAL, _screen_run.NOT_RUN}
    words |= {*_perturbation.WHY.values(), _screen_plan.TWICE, _screen_plan.NO_PERTURBATION}
    words |= {_screen_run.NO_NULL, _screen_run.FEW_DONORS}
    (row,) = [row for row in _rows("column") if row[0] == "`status`"]
    assert set(re.findall(r'`"([^"]+)"`', row[1])) == words


def test_table_of_kinds_has_every_kind() -> None:
    (header,) = re.findall(r"^\| model \|.*$", PAGE, re.MULTILINE)
    assert set(re.findall(r'`"(\w+)"`', header)) == set(_perturbation.KINDS)


@pytest.mark.parametrize("name", ["scfm-mini", "scGPT", "Geneformer V2", "scFoundation", "scBERT"])
def test_models_are_what_the_table_of_kinds_says(name: str) -> None:
    """Bold is an edit of tokens; "yes" decodes expression, and so does what needs an option, given it."""
    (told,) = [row for row in _rows("model") if row[0] == name]
    deletion, decoding = told[1], told[-1]
    place = name if name == "scfm-mini" else TINY / name.lower().replace(" ", "-")
    model, options = load(place), re.findall(r'`(\w+)="(\w+)"`', decoding)
    assert model.spec.edits_tokens == deletion.startswith("**")
    assert ("expression" in model.spec.outputs) == decoding.startswith("yes")
    assert decoding == "no" or "expression" in load(place, **dict(options)).spec.outputs


def test_numbers_are_those_of_the_code() -> None:
    default = {
        name: parameter.default for name, parameter in inspect.signature(scfm.tl.rank_perturbations).parameters.items()
    }
    assert f"the {MATCHED} of them that are most like it" in PAGE
    assert MIN_DONORS == 3
    assert "three donors at least" in PAGE
    assert f"`max_cells` ({default['max_cells']})" in PAGE
    assert f"`n_exact` ({_screen_run.ALWAYS}, or {100 * _screen_run.SHARE:g} %" in PAGE
    n_components = inspect.signature(ExpressionSpace.fit).parameters["n_components"].default
    assert f"{n_components} principal components of log expression (of {MAX_CELLS:,} of your cells" in PAGE


def test_numbers_of_the_tutorial_are_those_it_prints() -> None:
    cells = nbformat.read(ROOT / "tutorials" / "knock_outs_in_a_biopsy.ipynb", as_version=4).cells
    outputs = [output for cell in cells for output in cell.get("outputs", []) if "data" in output]
    lines = [line for output in outputs for line in output["data"].get("text/plain", "").splitlines()]

    def numbers(name: str) -> list[float]:
        """Numbers of the first row of this name."""
        row = next(line for line in lines if line.startswith(f"{name}  ") and len(line.split()) > len(name.split()) + 1)
        return [float(number) for number in row[len(name) :].split()]

    true, chance = numbers("FDR < 0.05")
    assert re.search(rf"\b{true:.0f} of \d+ genes had an FDR below\s0.05 with the true states", PAGE)
    assert re.search(rf"\b{chance:.0f} of \d+ with states by chance", PAGE)
    assert re.search(rf"both screens have a rank correlation of\s{numbers('shift_goal_by_chance')[0]:.2f}", PAGE)
    assert re.search(rf"a rank correlation of\s{numbers('score_by_chance')[2]:.2f} with that of the true", PAGE)
    true, chance = numbers("spread of score")
    assert round(true / chance) == 3
    assert "three times smaller" in PAGE
