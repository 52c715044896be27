"""Geneformer, V1 and V2: a cell is its genes in the order of how far each stands above its typical level."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .model import Geneformer

_WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def recognises(path: Path) -> bool:
    """Whether a path is a folder with a BERT's ``config.json`` and weights, or that file of weights."""
    folder = path if path.is_dir() else path.parent
    config = folder / "config.json"
    if not config.is_file() or not any((folder / name).is_file() for name in _WEIGHTS):
        return False
    if not path.is_dir() and path.name not in _WEIGHTS:
        return False
    return re.search(rb'"model_type"\s*:\s*"bert"', config.read_bytes()) is not None


def load(
    path: Path,
    *,
    version: Literal["V1", "V2"] | None = None,
    token_dictionary: str | Path | Mapping[str, Any] | None = None,
    gene_medians: str | Path | Mapping[str, Any] | None = None,
    gene_mapping: str | Path | Mapping[str, Any] | None = None,
    mode: Literal["default", "original"] = "default",
) -> Geneformer:
    """Load a Geneformer checkpoint.

    Parameters
    ----------
    path
        Folder with ``config.json`` and ``model.safetensors`` or ``pytorch_model.bin``.
    version
        ``"V1"`` or ``"V2"``, to be told if the checkpoint is of the other; ``None`` tells by the vocabulary.
    token_dictionary, gene_medians, gene_mapping
        Dictionaries of another vocabulary than the published ones, or .json or .pkl files of them: Ensembl id ->
        token, Ensembl id -> median, other name in capitals -> Ensembl id. ``None`` takes files in the checkpoint's
        folder, else the published ones where the number of tokens is theirs, else files near the folder.
    mode
        ``"original"`` finds names and merges columns as the authors' code does: no versions stripped, no symbols but
        those of its mapping, an id that stands twice gives two tokens, equal ranks in the order of the columns.

    Raises
    ------
    CheckpointError
        Files that are damaged, lack a tensor or do not fit each other.
    InputError
        An option that does not exist, or that contradicts the checkpoint.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.load("path/to/Geneformer-V2-104M", mode="original")  # doctest: +SKIP

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624; Chen et al. (2024), bioRxiv 2024.08.16.608180.
    """
    from .folder import load_folder

    return load_folder(
        path if path.is_dir() else path.parent,
        path.name if path.is_file() else None,
        version=version,
        dictionaries=(token_dictionary, gene_medians, gene_mapping),
        mode=mode,
    )
