"""A page about annotated cells, to read and to pass on."""

from ._report import report

__all__ = ["report"]
