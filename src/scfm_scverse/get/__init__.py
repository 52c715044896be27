"""Tidy tables of what the verbs wrote."""

from ._tables import annotation, cell_types

__all__ = ["annotation", "cell_types"]
