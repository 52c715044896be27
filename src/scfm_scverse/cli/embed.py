"""``scfm embed``: a vector for every cell of a file."""

from __future__ import annotations

from typing import Annotated

import typer

from ._files import choose_target, require_writable
from ._options import Device, GeneSymbols, InPlace, Input, Layer, Model, Normalized, Organism, Output, UseRaw


def embed(
    file: Input,
    output: Output = None,
    in_place: InPlace = False,
    model: Model = "scfm-mini",
    key_added: Annotated[
        str | None, typer.Option(metavar="KEY", help="Key of obsm for the embedding; the model's own if left out.")
    ] = None,
    layer: Layer = None,
    use_raw: UseRaw = False,
    normalized: Normalized = None,
    gene_symbols: GeneSymbols = None,
    organism: Organism = None,
    device: Device = "auto",
    batch_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="Cells that go through the model together; does not change the result."),
    ] = None,
) -> None:
    """Write a vector for every cell of FILE.

    The embedding goes to obsm, how it was made to uns. All else in the file stays as it is.
    """
    target = choose_target(file, output, in_place)
    from .. import models, tl
    from ..io.files import read_adata, write_results

    cell_model = models.load(model)
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
        device=device,
        batch_size=batch_size,
    )
    write_results(file, target, adata, [f"obsm/{key}", "uns/scfm"])
    print(f"{target}: obsm[{key!r}], {adata.n_obs:,} cells x {cell_model.spec.dim}")
