"""Cells as ragged tokens; no torch here."""

from .continuous import LogValues
from .tokens import Tokens

__all__ = ["LogValues", "Tokens"]
