"""Plots: draw what the verbs wrote, compute nothing but layout."""

from ._annotation import annotation
from ._embedding import embedding

__all__ = ["annotation", "embedding"]
