"""``scfm.report``: one page that shows an annotation, how it was made and how far to trust it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get, pl
from .._errors import FileError
from .._logging import say
from ..get._labels import names_of
from ..get._tables import MALIGNANT, UNKNOWN, embedding_of
from ..io.atomic import replacing
from ..pl._palettes import category_colors
from ._methods import WORDS, methods, records, versions
from ._pictures import as_uri, draw_quality
from ._quality import Quality, quality_of
from ._sections import group_rows, has_copy_number, sample_rows, type_rows, unknown_facts

if TYPE_CHECKING:
    from anndata import AnnData

SUFFIXES = (".html", ".htm")
MANY_SAMPLES = 30  # more than that make thousands of bars, which are smaller as pixels
HEATMAP_ROWS, HEATMAP_DPI = 200, 110  # of the copy number: sharp enough, and below 0.5 MB


def report(
    adata: AnnData,
    path: str | Path | None = None,
    *,
    key: str = "scfm",
    sample_key: str | None = None,
    name: str = "Cells",
) -> str | None:
    """Write a page about annotated cells: what they are, how sure that is, and how it was found.

    The page is one file that needs no other, to read in any browser, to print, and to pass on: quality of the cells,
    maps, a table of the types with the markers that speak for them, unknown cells, prediction sets, composition of
    samples, a text for the methods section, citations, versions. The matrix is read block by block.

    Parameters
    ----------
    adata
        Cells that :func:`scfm_scverse.tl.annotate` annotated, with their embedding and matrix.
    path
        File to write, ending in .html; a page that stands there is replaced. ``None`` returns the page.
    key
        The ``key_added`` of the annotation.
    sample_key
        Column of ``adata.obs`` with samples or donors, to show what each is made of.
    name
        What the page calls the data.

    Returns
    -------
    ``None``, or the page as text where there is no ``path``. The map and its colours are kept in ``adata`` as
    :func:`scfm_scverse.pl.annotation` does.

    Raises
    ------
    MissingKeyError
        Nothing was written under ``key``, or ``sample_key`` is not in ``adata.obs``.
    FileError
        The file cannot be written, or is no .html.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.annotate(adata)
    >>> scfm.report(adata, "blood.html", name="Blood of one donor")
    """
    target = None if path is None else page_path(path)
    page = _render(_contents(adata, key, sample_key, name))
    if target is None:
        return page
    with replacing(target) as temporary:
        temporary.write_text(page, encoding="utf-8")
    say(f"wrote {target} ({len(page) / 1e6:.1f} MB)")
    return None


def page_path(path: str | Path) -> Path:
    """Return the path of a page to write, or stop where it is no name for one."""
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES or target.is_dir():
        msg = f"Found the path {str(path)!r}; expected the name of a file that ends in .html."
        raise FileError(msg)
    return target


def _contents(adata: AnnData, key: str, sample_key: str | None, name: str) -> dict[str, Any]:
    """Everything that the template shows."""
    cells = get.annotation(adata, key=key)
    if sample_key is not None:
        names_of(adata, "sample_key", sample_key)  # before the work begins
    quality = quality_of(adata, key)
    colors = category_colors(adata, f"{key}_cell_type", pd.Categorical(cells["cell_type"]))
    has_sets, copy_number = "prediction_set" in cells, has_copy_number(adata, key)
    paragraphs, papers = methods(adata, key=key, has_sets=has_sets, has_copy_number=copy_number)
    types = type_rows(adata, key, colors)
    samples = [] if sample_key is None else sample_rows(adata, key, quality, sample_key)
    return {
        "name": name,
        "key": key,
        "tiles": _tiles(adata, cells, quality),
        "map": as_uri(pl.annotation(adata, key=key, basis=embedding_of(adata, key)[0], return_fig=True), "png"),
        "types": types,
        "largest": max(row["share"] for row in types),
        "unknown": unknown_facts(adata, key),
        "sets": as_uri(pl.prediction_sets(adata, key=key, return_fig=True), "svg") if has_sets else None,
        "set_facts": get.prediction_sets(adata, key=key).attrs if has_sets else {},
        "copy_number": _copy_number(adata, key) if copy_number else None,
        "n_malignant": int((cells["cell_type"] == MALIGNANT).sum()) if "malignant_score" in cells else None,
        "sample_key": sample_key,
        "samples": samples,
        "composition": None if sample_key is None else _composition(adata, key, sample_key, len(samples)),
        "groups": group_rows(adata, key),
        "quality": as_uri(draw_quality(quality), "svg"),
        "mitochondrial": quality.mitochondrial is not None,
        "values": WORDS[quality.values.kind],
        "methods": paragraphs,
        "papers": papers,
        "versions": versions(),
        "records": records(adata),
    }


def _composition(adata: AnnData, key: str, sample_key: str, n_samples: int) -> str:
    figure = pl.composition(adata, groupby=sample_key, key=key, return_fig=True)
    return as_uri(figure, "svg" if n_samples <= MANY_SAMPLES else "png")


def _copy_number(adata: AnnData, key: str) -> str:
    return as_uri(pl.copy_number(adata, key=key, max_rows=HEATMAP_ROWS, return_fig=True), "png", dpi=HEATMAP_DPI)


def _tiles(adata: AnnData, cells: pd.DataFrame, quality: Quality) -> list[tuple[str, str]]:
    """The first facts of the page: a number and what it is."""
    labels = cells["cell_type"].astype(str)
    n_types = labels[~labels.isin([UNKNOWN, MALIGNANT])].nunique()
    return [
        (f"{adata.n_obs:,}", "cells"),
        (f"{len(quality.values.var):,}", "genes"),
        (quality.match.organism, "organism"),
        (WORDS[quality.values.kind], f"in {quality.values.source}"),
        (f"{n_types}", "cell types"),
        (f"{cells['confidence'].median():.2f}", "median confidence"),
        (_percent((labels == UNKNOWN).mean()), "unknown"),
    ]


def _render(contents: dict[str, Any]) -> str:
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    here = files(__package__)
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["percent"] = _percent
    template = environment.from_string(here.joinpath("page.html.j2").read_text(encoding="utf-8"))
    # Our own style sheet is the one text that is not escaped.
    style = Markup(here.joinpath("style.css").read_text(encoding="utf-8"))
    return template.render(style=style, **contents)


def _percent(share: float) -> str:
    """A share as people write it: no digits that nobody needs, and never 0 % for something that is there."""
    if 0 < share < 0.001:
        return "< 0.1 %"
    return f"{100 * share:.1f} %" if 0 < share < 0.1 else f"{100 * share:.0f} %"
