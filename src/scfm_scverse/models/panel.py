"""Panels: ordered lists of genes that a model's positions stand for and its checkpoint does not name."""

from __future__ import annotations

import io
import lzma
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._errors import CheckpointError
from .._logging import say

BESIDE = ("*gene_index*.tsv", "genes.tsv", "genes.txt")  # the first as scFoundation's authors call theirs


def read_panel(package: str, path: Path, n_genes: int, given: str | Path | Sequence[str] | None) -> NDArray[np.str_]:
    """Return the names of the genes in the order of the positions.

    Parameters
    ----------
    package
        Package of the model, whose folder ``data`` holds the panel of the released model.
    path
        The checkpoint.
    n_genes
        How many genes it has.
    given
        The names, or a file of them: a table with the columns gene_name and index, or one name a line. ``None`` takes
        such a file beside the checkpoint, else the released panel, the first of these that has as many names.

    Raises
    ------
    CheckpointError
        No list of so many genes was given or found.
    """
    if given is not None and not isinstance(given, str | Path):
        return _checked(np.array(list(given), np.str_), n_genes, "genes=")
    if given is not None:
        return _checked(_read_file(Path(given)), n_genes, str(given))
    others = []
    for table in (table for pattern in BESIDE for table in sorted(path.parent.glob(pattern))):
        names = _read_file(table)
        if len(names) == n_genes:
            return _checked(names, n_genes, str(table))
        others.append(f"{table.name} of {len(names):,}")
    shipped = shipped_panel(package)
    if len(shipped) != n_genes:
        msg = (
            f"{path} is a model of {n_genes:,} genes, which has another list than the released one of "
            f"{len(shipped):,}{''.join(f' and {one}' for one in others)}; pass genes= with their names in order, or a "
            "file: a table with the columns gene_name and index, or a name a line."
        )
        raise CheckpointError(msg)
    if others:
        say(
            f"{path.name} has {n_genes:,} genes, taken for the released ones; passed over {', '.join(others)} beside it"
        )
    return shipped


def shipped_panel(package: str) -> NDArray[np.str_]:
    """Names of a released model's genes in the order of their positions."""
    packed = files(package).joinpath("data", "genes.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        return np.array(stored["symbol"].tobytes().decode().split("\n"))


def _read_file(path: Path) -> NDArray[np.str_]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        if "\t" not in "".join(lines[:1]):
            return np.array([line.strip() for line in lines if line.strip()], np.str_)
        rows = [dict(zip(lines[0].split("\t"), line.split("\t"), strict=True)) for line in lines[1:] if line]
        return np.array([row["gene_name"] for row in sorted(rows, key=lambda row: int(row["index"]))], np.str_)
    except (OSError, ValueError, KeyError) as error:
        msg = (
            f"{path} cannot be read as a list of genes ({error}); expected the columns gene_name and index, or one "
            "name a line."
        )
        raise CheckpointError(msg.replace("\n", " ")) from error


def _checked(names: NDArray[np.str_], n_genes: int, source: str) -> NDArray[np.str_]:
    n_different = len(set(names.tolist()))
    if len(names) != n_genes or n_different != n_genes:
        msg = (
            f"{source} holds {len(names):,} names, {n_different:,} of them different; "
            f"expected {n_genes:,} different ones, as the model has positions."
        )
        raise CheckpointError(msg)
    return names
