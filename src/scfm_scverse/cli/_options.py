"""Arguments and options that several commands share."""

from __future__ import annotations

import re
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from ..models import CellModel

Input = Annotated[Path, typer.Argument(metavar="FILE", help="An h5ad file or a zarr store.")]
Output = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="File to make: a copy of the input with the results in it."),
]
InPlace = Annotated[bool, typer.Option("--in-place", help="Write the results into the input instead.")]
Model = Annotated[
    str, typer.Option(metavar="NAME", help="Name of a model (`scfm models` lists them) or path of a checkpoint.")
]
Layer = Annotated[str | None, typer.Option(metavar="NAME", help="Layer to read; found by itself if left out.")]
UseRaw = Annotated[bool, typer.Option("--use-raw", help="Read raw.X.")]
Normalized = Annotated[
    bool | None,
    typer.Option("--normalized/--linear", help="Whether the values are log-normalised; told by looking if left out."),
]
GeneSymbols = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of var with gene symbols; the index if left out.")
]
Organism = Annotated[Literal["human", "mouse"] | None, typer.Option(help="Told by the gene names if left out.")]
OntologyKey = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of the labelled cells' obs with Cell Ontology ids.")
]
BatchKey = Annotated[
    str | None, typer.Option(metavar="COLUMN", help="Column of the labelled cells' obs with donors or studies.")
]
Device = Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or mps.")]
LoadOptions = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="Option of the checkpoint, as models.load has it; repeatable."),
]

_WHOLE = re.compile(r"[+-]?[0-9]+")
_DECIMAL = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def parse_options(words: list[str] | None) -> dict[str, int | float | str]:
    """Return the options that words such as ``mode=original`` name; whole numbers and decimals become numbers.

    Raises
    ------
    typer.BadParameter
        A word without a name or a "=", or an option given twice.
    """
    found: dict[str, int | float | str] = {}
    for word in words or []:
        name, equals, value = word.partition("=")
        if not (name and equals):
            msg = f"Found --option {word!r}; expected NAME=VALUE, such as mode=original."
            raise typer.BadParameter(msg)
        if name in found:
            msg = f"Found the option {name!r} twice; expected it once."
            raise typer.BadParameter(msg)
        found[name] = _number_or_text(value)
    return found


def _number_or_text(value: str) -> int | float | str:
    if _WHOLE.fullmatch(value):
        return int(value)
    return float(value) if _DECIMAL.fullmatch(value) and isfinite(float(value)) else value


def load_model(model: str | Path, words: list[str] | None) -> CellModel:
    """Load a model with the options that were typed.

    Raises
    ------
    typer.BadParameter
        No options, or text where a number belongs or the other way round.
    """
    from .. import models

    options = parse_options(words)
    try:
        return models.load(model, **options)
    except TypeError as error:  # loaders compare and search what they are given; types are checked in Python by mypy
        if not options:
            raise
        given = ", ".join(f"{name}={value!r}" for name, value in options.items())
        msg = f"Found {given}; expected a number where {model} takes numbers, text where it takes text ({error})."
        raise typer.BadParameter(msg) from error
