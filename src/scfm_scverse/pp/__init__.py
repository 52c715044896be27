"""Check and prepare the data."""

from __future__ import annotations

from ._genes import harmonize_genes

__all__ = ["harmonize_genes"]
