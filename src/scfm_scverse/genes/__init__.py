"""Names of genes: one offline table, and the way from the names of a data set to its rows."""

from __future__ import annotations

from .coverage import Coverage, check_coverage, coverage
from .detect import detect_names
from .hints import names_and_hints
from .match import HOW, GeneMatch
from .place import place_names, place_written
from .resolve import resolve_genes
from .table import GeneTable, load_gene_table

__all__ = [
    "HOW",
    "Coverage",
    "GeneMatch",
    "GeneTable",
    "check_coverage",
    "coverage",
    "detect_names",
    "load_gene_table",
    "names_and_hints",
    "place_names",
    "place_written",
    "resolve_genes",
]
