"""``scfm report``: a page about the cells of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._files import require_folder
from ._options import Input


def report(
    file: Input,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Page to make, ending in .html.")],
    key: Annotated[str, typer.Option(metavar="KEY", help="Prefix of the annotation to show.")] = "scfm",
    sample_key: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Column of obs with samples, to show what each is made of.")
    ] = None,
) -> None:
    """Make a page about the cells of FILE: types, how sure they are, how they were found.

    One HTML file that needs no other. FILE is not changed; cells that are not annotated yet are annotated first.
    """
    import matplotlib as mpl

    from .. import report as write_report
    from .. import tl
    from .._record import check_column
    from ..io.files import read_adata
    from ..reporting._report import page_path

    mpl.use("agg")
    require_folder(page_path(output))
    adata = read_adata(file, backed=True)
    check_column(adata, "sample_key", sample_key)
    if f"{key}_cell_type" not in adata.obs:
        tl.annotate(adata, key_added=key)
    write_report(adata, output, key=key, sample_key=sample_key, name=file.name)
    print(output)
