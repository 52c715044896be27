"""Labelled cells that queries are compared with."""

from .build import build_reference
from .reference import Reference, Scores, load_default_reference, load_reference, save_reference, score_cells

__all__ = [
    "Reference",
    "Scores",
    "build_reference",
    "load_default_reference",
    "load_reference",
    "save_reference",
    "score_cells",
]
