"""One look at every public function: its signature, its docstring, its place in the API page, its examples."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from support import NAMESPACES, public_functions, public_objects

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"

FUNCTIONS = public_functions()
OBJECTS = {name: value for namespace in NAMESPACES for name, value in public_objects(namespace).items()} | FUNCTIONS
RETURNS = {name: str(inspect.signature(function).return_annotation) for name, function in FUNCTIONS.items()}
IN_PLACE = [name for name, returns in RETURNS.items() if name.startswith(("pp.", "tl.")) and "None" in returns]

# Models are loaded before there is any AnnData; these begin with the name of a model. No data are
# needed to draw what is told of a training.
NO_ADATA = {name for name in FUNCTIONS if name.startswith("models.")} | {"pl.memory", "pl.training"}

# Options of a family of checkpoints, which only its own loader knows, and fields of TrainSettings.
FORWARDED = {"options", "settings", "sizes"}

every_function = pytest.mark.parametrize("name", FUNCTIONS)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    return list(inspect.signature(function).parameters.values())


def _sections(function: Callable[..., Any]) -> dict[str, str]:
    """Split a numpy docstring at its underlined headings; the text before the first one is the summary."""
    parts = re.split(r"^(\w[\w ]*)\n-{3,}$", inspect.getdoc(function) or "", flags=re.MULTILINE)
    named = zip(parts[1::2], parts[2::2], strict=True)
    return {"Summary": parts[0].strip()} | {heading: text.strip() for heading, text in named}


def _described(section: str) -> list[str]:
    """Names at the left margin of a Parameters section; ``a, b`` describes two."""
    heads = [line.split(":")[0] for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def test_there_are_public_functions_in_every_namespace() -> None:
    assert {name.split(".")[0] for name in FUNCTIONS} == {*NAMESPACES, "report"}


@every_function
def test_first_argument_is_the_data(name: str) -> None:
    parameters = _parameters(FUNCTIONS[name])
    first = parameters[0].name if parameters else None
    assert (first == "adata") != (name in NO_ADATA)


@every_function
def test_at_most_two_arguments_are_positional(name: str) -> None:
    kinds = [parameter.kind for parameter in _parameters(FUNCTIONS[name]) if parameter.name not in FORWARDED]
    assert set(kinds) <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    assert kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD) <= 2


@every_function
def test_signature_is_annotated(name: str) -> None:
    signature = inspect.signature(FUNCTIONS[name])
    bare = [parameter.name for parameter in signature.parameters.values() if parameter.annotation is parameter.empty]
    assert bare == []
    assert signature.return_annotation is not signature.empty


@every_function
def test_docstring_describes_every_argument(name: str) -> None:
    function = FUNCTIONS[name]
    assert _described(_sections(function).get("Parameters", "")) == [p.name for p in _parameters(function)]


@every_function
def test_docstring_has_summary_returns_and_example(name: str) -> None:
    sections = _sections(FUNCTIONS[name])
    assert sections["Summary"]
    assert sections.get("Returns") or RETURNS[name] == "None"
    assert ">>> " in sections.get("Examples", "")


@pytest.mark.parametrize("name", IN_PLACE)
def test_verb_that_works_in_place_offers_a_copy_and_names_its_slots(name: str) -> None:
    function = FUNCTIONS[name]
    assert re.search(r"adata\.(obs|var|obsm|varm|obsp|layers|uns)\b", _sections(function).get("Returns", ""))
    copy = inspect.signature(function).parameters.get("copy")
    assert copy is not None
    assert copy.default is False


@pytest.mark.parametrize("name", OBJECTS)
def test_everything_public_is_documented_on_the_api_page(name: str) -> None:
    assert inspect.getdoc(OBJECTS[name])
    listed = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").split()
    assert {name, f"scfm_scverse.{name}"} & set(listed)


@pytest.mark.parametrize("name", OBJECTS)
def test_everything_public_is_ours(name: str) -> None:
    assert OBJECTS[name].__module__.startswith("scfm_scverse.")


@pytest.mark.parametrize(
    "path",
    [path.relative_to(SOURCE) for path in sorted(SOURCE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")],
    ids=str,
)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    parts = [part for part in path.with_suffix("").parts if part != "__init__"]
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    outcome = doctest.testmod(import_module(".".join(parts)), optionflags=flags)
    assert outcome.failed == 0
