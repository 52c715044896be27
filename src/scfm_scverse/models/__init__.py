"""Models behind one interface: load one by its name, list those that are there, register your own."""

from .base import CellModel, Columns, ModelSpec
from .registry import available, load, register

__all__ = ["CellModel", "Columns", "ModelSpec", "available", "load", "register"]
