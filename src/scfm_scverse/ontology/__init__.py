"""The Cell Ontology as arrays."""

from .graph import CellOntology, load_ontology
from .match import LabelMatch, match_labels

__all__ = ["CellOntology", "LabelMatch", "load_ontology", "match_labels"]
