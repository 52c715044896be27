"""scfm-mini: a linear model of expression that comes with the package.

A cell is the vector that best explains its standardised expression as a combination of gene vectors, solved by ridge
regression over the genes that the data set measured. Any gene panel can therefore be used.
"""

from __future__ import annotations

from pathlib import Path

from ...checkpoints import mentions
from .files import TENSORS, WEIGHTS, MiniWeights, from_tensors, load_scfm_mini, weights_file
from .model import ScfmMini

__all__ = ["WEIGHTS", "MiniWeights", "ScfmMini", "from_tensors", "load", "load_scfm_mini", "recognises"]


def recognises(path: Path) -> bool:
    """Whether this is a file of our weights, or the folder that holds it."""
    file = weights_file(path)
    return file.suffix == ".safetensors" and mentions(file, *(f'"{name}"'.encode() for name in TENSORS))


def load(path: Path) -> ScfmMini:
    """Load a model of this kind that was written to a folder.

    Parameters
    ----------
    path
        The file, or the folder that holds ``scfm-mini.safetensors``.

    Raises
    ------
    CheckpointError
        The file is damaged, or lacks a tensor.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> scfm.models.load("my-mini")  # doctest: +SKIP
    """
    return load_scfm_mini(weights_file(path))
