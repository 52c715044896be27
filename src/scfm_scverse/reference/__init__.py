"""Labelled cells that queries are compared with."""

from .build import build_reference
from .files import load_default_reference, load_reference, save_reference
from .reference import LabelledCells, Reference
from .scores import Scores, score_cells

__all__ = [
    "LabelledCells",
    "Reference",
    "Scores",
    "build_reference",
    "load_default_reference",
    "load_reference",
    "save_reference",
    "score_cells",
]
