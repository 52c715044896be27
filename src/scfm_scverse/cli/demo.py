"""``scfm demo``: embed, annotate and draw real cells, with nothing but what is installed."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from anndata import AnnData

FOLDER = Path("scfm_demo")
MODEL = "scfm-mini"
KEY = "scfm"

ABOUT_CELLS = "pbmc68k_reduced: 700 blood cells of donor A of Zheng et al. 2017, as scanpy brings them along"
ABOUT_LABELS = """\
  These shares are no test of the model: the same donor is among the training cells of scfm-mini (sets
  zheng_sorted_pbmc and pbmc_frozen_A). Nor are the authors' labels a gold standard: each cell got the label of
  the population that it correlates best with, and there was none of plasma cells."""


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Your h5ad file or zarr store; 700 blood cells if left out."),
    ] = None,
    labels_key: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="Column of FILE's obs with cell types, named as in the Cell Ontology."),
    ] = None,
) -> None:
    """See what it does with 700 blood cells, or with FILE.

    Cells are embedded, annotated and drawn, offline. The annotated file and the picture go to ./scfm_demo.
    """
    if file is None and labels_key is not None:
        msg = "--labels-key needs FILE; the demo cells come with labels of their own."
        raise typer.BadParameter(msg)
    from ..io.files import read_adata
    from ._agreement import BULK_LABELS, agreement, terms_of_labels
    from ._table import type_table

    given = None if file is None else read_adata(file, backed=True)
    terms = BULK_LABELS if given is None else {} if labels_key is None else terms_of_labels(given, labels_key)
    FOLDER.mkdir(exist_ok=True)
    print("Loading libraries and model (the first time takes longest) ...", flush=True)
    started = perf_counter()
    example = _warmed_up()
    adata = example if given is None else given
    print(f"... {perf_counter() - started:.1f} s", flush=True)

    seconds = _embed_and_annotate(adata)
    print(f"\n{ABOUT_CELLS if file is None else file}\n{_what_was_read(adata)}")
    print(f"Embedded and annotated {adata.n_obs:,} cells in {seconds:.2f} s: {adata.n_obs / seconds:,.0f} cells/s\n")
    print(type_table(adata, KEY))
    if terms:
        shares, by_label = agreement(adata, KEY, labels_key or "bulk_labels", terms)
        print("", shares, *([ABOUT_LABELS] if file is None else []), "", by_label, sep="\n")
    print("", *(f"wrote {path}" for path in _write(adata, file)), sep="\n")


def _warmed_up() -> AnnData:
    """The demo cells, after all code has run on a copy of them: what is timed later is work, not loading."""
    import scanpy

    from .. import settings, tl

    adata: AnnData = scanpy.datasets.pbmc68k_reduced()
    with settings.override(verbosity=0):
        tl.annotate(adata, model=MODEL, copy=True)
    return adata


def _embed_and_annotate(adata: AnnData) -> float:
    from .. import tl

    started = perf_counter()
    tl.embed(adata, model=MODEL)
    tl.annotate(adata, model=MODEL, key_added=KEY)
    return perf_counter() - started


def _what_was_read(adata: AnnData) -> str:
    from .. import models
    from .._record import read_record
    from ._messages import WORDS

    written = read_record(adata, "embed", models.load(MODEL).spec.key_added) or {}
    share = written["share_of_counts_known"]
    n_genes = adata.raw.n_vars if written["source"] == "raw.X" else adata.n_vars
    return (
        f"Took the {WORDS[written['values']]} of {written['source']}: {n_genes:,} genes ({written['organism']}), "
        f"of which {MODEL} knows {written['n_genes_known']:,}, with {share:.0%} of the values"
    )


def _write(adata: AnnData, file: Path | None) -> list[Path]:
    import matplotlib as mpl

    from .. import models, pl
    from ..io.files import write_adata, write_results
    from ._files import annotation_elements

    mpl.use("agg")
    stem, suffix = ("pbmc68k", ".h5ad") if file is None else (file.stem, ".zarr" if file.is_dir() else ".h5ad")
    picture, target = FOLDER / f"{stem}_annotated.png", FOLDER / f"{stem}_annotated{suffix}"
    figure: Any = pl.annotation(adata, return_fig=True)
    figure.savefig(picture, dpi=150)
    if file is None:
        write_adata(adata, target)
    else:
        drawn = ["obsm/X_umap_scfm", f"uns/{KEY}_cell_type_colors"]
        write_results(file, target, adata, [*annotation_elements(adata, models.load(MODEL), KEY), *drawn])
    return [target, picture]
