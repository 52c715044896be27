"""Tables for the terminal: plain ASCII, columns aligned."""

from __future__ import annotations

from collections.abc import Sequence
from math import isnan
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

MOST_TYPES = 15


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Lay out rows under a header; the columns named in ``right`` end flush."""
    lines = [[_ascii(cell) for cell in line] for line in [header, *rows]]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def laid_out(line: Sequence[str]) -> str:
        parts = zip(line, header, widths, strict=True)
        return "  ".join(cell.rjust(w) if name in right else cell.ljust(w) for cell, name, w in parts).rstrip()

    return "\n".join([laid_out(lines[0]), "  ".join("-" * width for width in widths), *map(laid_out, lines[1:])])


def type_table(adata: AnnData, key: str) -> str:
    """Cell types of an annotation: how many cells, and how sure it is of them."""
    found = adata.obs.groupby(f"{key}_cell_type", observed=True)[f"{key}_confidence"].agg(["size", "mean"])
    found = found.sort_values("size", ascending=False, kind="stable")
    rows = [
        [str(name), f"{size:,}", f"{size / adata.n_obs:.1%}", "-" if isnan(mean) else f"{mean:.2f}"]
        for name, size, mean in found.head(MOST_TYPES).itertuples()
    ]
    n_others, others = len(found) - len(rows), int(found["size"].iloc[MOST_TYPES:].sum())
    if n_others:
        rows.append([f"({n_others} more)", f"{others:,}", f"{others / adata.n_obs:.1%}", ""])
    header = ["cell type", "cells", "share", "confidence"]
    return table(header, rows, right=header[1:])


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode()
