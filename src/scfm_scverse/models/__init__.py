"""Models behind one interface: load one by its name or from its authors' files, list them, register your own."""

from .base import Attention, AttentionRows, CellModel, Columns, Encoded, GeneRows, ModelSpec, Wanted
from .catalogue import catalogue
from .registry import available, create, load, register
from .trainable import Pass, Trainable

__all__ = [
    "Attention",
    "AttentionRows",
    "CellModel",
    "Columns",
    "Encoded",
    "GeneRows",
    "ModelSpec",
    "Pass",
    "Trainable",
    "Wanted",
    "available",
    "catalogue",
    "create",
    "load",
    "register",
]
