"""What networks are trained for: each objective is one small class, and those that read one pass combine."""

from .base import Joint, Objective, Reading
from .cell_types import CellTypes, balanced_weights

__all__ = ["CellTypes", "Joint", "Objective", "Reading", "balanced_weights"]
