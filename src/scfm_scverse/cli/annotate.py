"""``scfm annotate``: a cell type for every cell of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._files import annotation_elements, choose_target, columns_not_written, require_writable
from ._options import (
    BatchKey,
    Device,
    GeneSymbols,
    InPlace,
    Input,
    Layer,
    Model,
    Normalized,
    OntologyKey,
    Organism,
    Output,
    UseRaw,
)


def annotate(
    file: Input,
    output: Output = None,
    in_place: InPlace = False,
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A reference, or labelled cells; that of the package if left out."),
    ] = None,
    labels_key: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of the reference's obs with labels.")
    ] = None,
    ontology_key: OntologyKey = None,
    batch_key: BatchKey = None,
    model: Model = "scfm-mini",
    alpha: Annotated[float, typer.Option(help="Share of prediction sets that may miss the true class.")] = 0.1,
    groupby: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of obs with clusters, which get one label each besides."),
    ] = None,
    malignant: Annotated[bool, typer.Option("--malignant", help="Look for malignant cells by copy number.")] = False,
    donor_key: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of obs with donors, for --malignant.")
    ] = None,
    key_added: Annotated[str, typer.Option(metavar="KEY", help="Prefix of everything written.")] = "scfm",
    layer: Layer = None,
    use_raw: UseRaw = False,
    normalized: Normalized = None,
    gene_symbols: GeneSymbols = None,
    organism: Organism = None,
    device: Device = "auto",
) -> None:
    """Write a cell type for every cell of FILE.

    Type, Cell Ontology id, confidence, unknown score and prediction set go to obs, probabilities and embedding to obsm.
    All else in the file stays as it is.
    """
    target = choose_target(file, output, in_place)
    from ..io.reference_file import is_reference_file

    columns = any((labels_key, ontology_key, batch_key))
    if columns and (reference is None or labels_key is None or is_reference_file(reference)):
        msg = "--reference with labelled cells and --labels-key go together; a built reference needs no columns."
        raise typer.BadParameter(msg)
    from .. import models, tl
    from ..io.files import read_adata, write_results
    from ._table import type_table

    cell_model = models.load(model)
    adata = read_adata(file, backed=True)
    require_writable(file, target)
    tl.annotate(
        adata,
        reference=read_adata(reference, backed=True) if reference is not None and columns else reference or "default",
        labels_key=labels_key,
        ontology_key=ontology_key,
        batch_key=batch_key,
        model=cell_model,
        alpha=alpha,
        groupby=groupby,
        malignant=malignant,
        donor_key=donor_key,
        key_added=key_added,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
        device=device,
    )
    gone = columns_not_written(adata, key_added)
    write_results(file, target, adata, annotation_elements(adata, cell_model, key_added), gone=gone)
    print(type_table(adata, key_added))
    print(f"\n{target}: obs['{key_added}_cell_type'] and others")
