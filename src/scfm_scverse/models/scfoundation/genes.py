"""Names of the genes that the positions stand for, which no checkpoint holds."""

from __future__ import annotations

import io
import lzma
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..._errors import CheckpointError

_TABLES = ("*gene_index*.tsv", "genes.tsv")  # as the authors call theirs; beside a checkpoint of other genes


def read_genes(path: Path, n_genes: int, given: str | Path | Sequence[str] | None) -> NDArray[np.str_]:
    """Return the names of the genes in the order of the positions, [n_genes].

    Raises
    ------
    CheckpointError
        No list of so many genes was given or found.
    """
    if given is not None and not isinstance(given, str | Path):
        return _checked(np.array(list(given), np.str_), n_genes, "genes=")
    if given is not None:
        return _checked(_read_table(Path(given)), n_genes, str(given))
    shipped = shipped_genes()
    if len(shipped) == n_genes:
        return shipped
    beside = [table for pattern in _TABLES for table in sorted(path.parent.glob(pattern))]
    if beside:
        return _checked(_read_table(beside[0]), n_genes, str(beside[0]))
    msg = (
        f"{path} is a model of {n_genes:,} genes, which has another list than the released one of {len(shipped):,}; "
        "pass genes= with their names in order, or the path of a table with the columns gene_name and index."
    )
    raise CheckpointError(msg)


def shipped_genes() -> NDArray[np.str_]:
    """Names of the released models' genes in the order of their positions, [19264]."""
    packed = files(__package__).joinpath("data", "genes.npz.xz").read_bytes()
    with np.load(io.BytesIO(lzma.decompress(packed)), allow_pickle=False) as stored:
        return np.array(stored["symbol"].tobytes().decode().split("\n"))


def _read_table(path: Path) -> NDArray[np.str_]:
    """Column ``gene_name`` of a tab-separated table in the order of its column ``index``."""
    import pandas as pd

    try:
        frame = pd.read_csv(path, sep="\t", dtype={"gene_name": str}, keep_default_na=False)
        order = np.argsort(frame["index"].to_numpy(np.int64), kind="stable")
        return frame["gene_name"].to_numpy(np.str_)[order]
    except (OSError, ValueError, KeyError) as error:
        msg = f"{path} cannot be read as a list of genes ({error}); expected the columns gene_name and index."
        raise CheckpointError(msg.replace("\n", " ")) from error


def _checked(names: NDArray[np.str_], n_genes: int, source: str) -> NDArray[np.str_]:
    if len(names) != n_genes or len(set(names.tolist())) != n_genes:
        msg = (
            f"{source} holds {len(names):,} names, {len(set(names.tolist())):,} of them different; "
            f"expected {n_genes:,} different ones, as the model has positions."
        )
        raise CheckpointError(msg)
    return names
