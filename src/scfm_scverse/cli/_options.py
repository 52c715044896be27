"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
