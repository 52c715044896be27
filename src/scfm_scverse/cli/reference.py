"""``scfm reference``: labelled cells as a file that other cells are annotated with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._files import require_folder
from ._options import BatchKey, Device, GeneSymbols, Input, Layer, Model, Normalized, OntologyKey, Organism, UseRaw

if TYPE_CHECKING:
    from ..reference import Reference

reference = typer.Typer(
    help="Make a reference of labelled cells, or look into one.", add_completion=False, rich_markup_mode=None
)


@reference.command()
def build(
    file: Input,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Reference to write; ends in .h5ad.")],
    labels_key: Annotated[str, typer.Option(metavar="COLUMN", help="Column of obs with labels.")],
    ontology_key: OntologyKey = None,
    batch_key: BatchKey = None,
    model: Model = "scfm-mini",
    layer: Layer = None,
    use_raw: UseRaw = False,
    normalized: Normalized = None,
    gene_symbols: GeneSymbols = None,
    organism: Organism = None,
    device: Device = "auto",
) -> None:
    """Make a reference of the labelled cells of FILE.

    The reference holds their embeddings, labels and Cell Ontology terms, and no counts. `scfm annotate --reference`
    takes it. The input stays as it is.
    """
    if output.resolve() == file.resolve():
        msg = f"{output} is the input; choose another file for the reference."
        raise typer.BadParameter(msg)
    if output.suffix.lower() != ".h5ad":
        msg = f"{output} is no name for a reference; expected a file that ends in .h5ad."
        raise typer.BadParameter(msg)
    from .. import tl
    from ..io.files import read_adata

    require_folder(output)
    made = tl.build_reference(
        read_adata(file, backed=True),
        labels_key=labels_key,
        ontology_key=ontology_key,
        batch_key=batch_key,
        model=model,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
        device=device,
    )
    made.save(output)
    print(_classes(made))
    print(f"\n{output}")


@reference.command()
def info(file: Annotated[Path, typer.Argument(metavar="FILE", help="A reference.")]) -> None:
    """Show what the reference FILE holds: its model, its cells, its classes and their Cell Ontology terms."""
    from ..reference import Reference
    from ._table import table

    found = Reference.load(file)
    n_cells = 0 if found.cells is None else len(found.cells.code)
    measured = "not known" if found.measured is None else f"{found.measured.sum():,} of {len(found.measured):,}"
    rows = [
        ["made from", found.name],
        ["model", found.model_id],
        ["organism", found.organism],
        ["cells", f"{n_cells:,}"],
        ["genes of the model", measured],
    ]
    print(table(["", "found"], rows))
    print(f"\n{_classes(found)}")


def _classes(made: Reference) -> str:
    from ._table import table

    report = made.report()
    rows = [
        [str(label), f"{row.n_cells:,}", f"{row.n_batches:,}", row.term or "-", row.term_name or "-", row.matched]
        for label, row in report.iterrows()
    ]
    numbers = ["cells", "batches"]
    return table(["label", *numbers, "term", "name of the term", "matched"], rows, right=numbers)
