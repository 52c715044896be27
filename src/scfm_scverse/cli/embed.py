"""``scfm embed``: a vector for every cell of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ._files import choose_target, require_writable
from ._options import (
    Device,
    GeneSymbols,
    InPlace,
    Input,
    Layer,
    LoadOptions,
    Model,
    Normalized,
    Organism,
    Output,
    UseRaw,
    load_model,
)


def embed(
    file: Input,
    output: Output = None,
    in_place: InPlace = False,
    model: Model = "scfm-mini",
    option: LoadOptions = None,
    key_added: Annotated[
        str | None, typer.Option(metavar="KEY", help="Key of obsm for the embedding; the model's own if left out.")
    ] = None,
    layer: Layer = None,
    use_raw: UseRaw = False,
    normalized: Normalized = None,
    gene_symbols: GeneSymbols = None,
    organism: Organism = None,
    output_layer: Annotated[
        int | None,
        typer.Option(metavar="N", help="Layer to read, -1 is the last; what the model's authors read if left out."),
    ] = None,
    pooling: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How genes become one vector; the model's own way if left out."),
    ] = None,
    total_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of obs with the total counts of each cell, for scFoundation."),
    ] = None,
    device: Device = "auto",
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="How precisely the model computes.")
    ] = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cells that go through the model together; does not change the result."),
    ] = None,
) -> None:
    """Write a vector for every cell of FILE.

    The embedding goes to obsm, how it was made to uns. All else in the file stays as it is. Finished cells are kept
    beside the output until it is written: the same command goes on where it was cut short.
    """
    target = choose_target(file, output, in_place)
    from .. import tl
    from ..io.files import read_adata, write_results

    cell_model = load_model(model, option)
    if Path(model).exists():
        print(cell_model.report())
    key = key_added or cell_model.spec.key_added
    adata = read_adata(file, backed=True)
    require_writable(file, target)
    tl.embed(
        adata,
        model=cell_model,
        key_added=key,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
        output_layer=output_layer,
        pooling=pooling,
        total_key=total_key,
        device=device,
        dtype=dtype,
        batch_size=batch_size,
        resume=target.with_name(f"{target.name}.partial"),
    )
    write_results(file, target, adata, [f"obsm/{key}", "uns/scfm"])
    print(f"{target}: obsm[{key!r}], {adata.n_obs:,} cells x {adata.obsm[key].shape[1]}")
