"""Where a command writes, settled before any work is done, and what."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .._errors import FileError

if TYPE_CHECKING:
    from anndata import AnnData

    from ..models import CellModel


def choose_target(source: Path, output: Path | None, in_place: bool) -> Path:
    """Return the file to write to: a new one, or on request the input itself.

    Raises
    ------
    typer.BadParameter
        Neither or both were asked for, or the new file would be the input.
    """
    if (output is None) != in_place:
        msg = "Pass either -o with a new file, or --in-place."
        raise typer.BadParameter(msg)
    if output is None:
        return source
    if output.resolve() == source.resolve():
        msg = f"{output} is the input; pass --in-place to write into it."
        raise typer.BadParameter(msg)
    return output


def require_writable(source: Path, target: Path) -> None:
    """Stop before hours of work if their results could not be written.

    Raises
    ------
    FileError
        The target is of another kind than the source, or its folder is missing or closed.
    """
    suffix = ".zarr" if source.is_dir() else ".h5ad"
    if target.suffix.lower() != suffix:
        msg = f"Found the output {target} for the input {source}; expected the same kind: name it *{suffix}."
        raise FileError(msg)
    require_folder(target)


def require_folder(target: Path) -> None:
    """Stop before any work if the folder of a file to write is missing or closed.

    Raises
    ------
    FileError
        It is.
    """
    folder = target.resolve().parent
    if not (folder.is_dir() and os.access(folder, os.W_OK)):
        msg = f"Cannot write into the folder {folder}; expected one that exists and may be written to: choose another."
        raise FileError(msg)


def columns_not_written(adata: AnnData, key: str) -> list[str]:
    """Columns that another annotation under the same key may have left in the file, and this one did not write."""
    from ..tl._annotate import OPTIONAL_COLUMNS

    return [f"obs/{key}_{name}" for name in OPTIONAL_COLUMNS if f"{key}_{name}" not in adata.obs]


def annotation_elements(adata: AnnData, model: CellModel, key: str) -> list[str]:
    """Everything that an annotation wrote, as :func:`scfm_scverse.io.files.write_results` names it."""
    from ..tl._annotate import COLUMNS, OPTIONAL_COLUMNS

    columns = [f"obs/{key}_{name}" for name in COLUMNS]
    columns += [f"obs/{key}_{name}" for name in OPTIONAL_COLUMNS if f"{key}_{name}" in adata.obs]
    columns += [f"obs/{key}_copy_number"] if f"{key}_copy_number" in adata.obs else []
    windows = f"X_{key}_copy_number"
    arrays = [f"obsm/{name}" for name in (f"{key}_probabilities", model.spec.key_added)]
    arrays += [f"obsm/{windows}"] if windows in adata.obsm else []
    return [*columns, *arrays, "uns/scfm"]
