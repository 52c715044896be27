"""The Cell Ontology as arrays."""

from .graph import CellOntology, load_ontology

__all__ = ["CellOntology", "load_ontology"]
