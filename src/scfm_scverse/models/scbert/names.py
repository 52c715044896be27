"""Names that no checkpoint holds: genes of the positions, classes of a fine-tuned head."""

from __future__ import annotations

import io
import lzma
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._errors import CheckpointError
from ...checkpoints import read_pickle

CLASSES = "label_dict"


def read_genes(path: Path, n_genes: int, given: str | Path | Sequence[str] | None) -> NDArray[np.str_]:
    """Return the names of the genes in the order of the positions, [n_genes].

    Raises
    ------
    CheckpointError
        No list of so many genes was given, and the model is not of the released size.
    """
    if given is None:
        names = shipped_genes()
        if len(names) == n_genes:
            return names
        msg = (
            f"{path} is a model of {n_genes:,} genes, which has another list than the released one of {len(names):,}; "
            "pass genes= with their names in order, or the path of a text file with one a line."
        )
        raise CheckpointError(msg)
    names = np.array(_lines(Path(given)) if isinstance(given, str | Path) else list(given), np.str_)
    if len(names) != n_genes or len(set(names.tolist())) != n_genes:
        msg = (
            f"genes= holds {len(names):,} names, {len(set(names.tolist())):,} of them different; expected {n_genes:,} "
            f"different ones, as {path} has positions."
        )
        raise CheckpointError(msg)
    return names


def shipped_genes() -> NDArray[np.str_]:
    """Names of the released model's genes in the order of their positions, [16906]."""
    packed = files(__package__).joinpath("data", "genes.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        return np.array(stored["symbol"].tobytes().decode().split("\n"))


def read_classes(path: Path, n_classes: int, given: str | Path | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the classes of a fine-tuned file, [c].

    Raises
    ------
    CheckpointError
        Another number of names than of classes.
    """
    beside = path.parent / CLASSES
    if given is None and not beside.is_file():
        return tuple(map(str, range(n_classes)))
    source = beside if given is None else given
    found = read_pickle(Path(source)) if isinstance(source, str | Path) else list(source)
    names = tuple(map(str, found)) if isinstance(found, list | tuple | np.ndarray) else ()
    if len(names) != n_classes:
        what = source if isinstance(source, str | Path) else "classes="
        msg = f"{what} holds {len(names)} names of classes; expected {n_classes}, as {path} has: pass classes=."
        raise CheckpointError(msg)
    return names


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path} cannot be read as a list of genes ({error}); expected a text file with one name a line."
        raise CheckpointError(msg) from error
