"""Which lineages carcinomas and gliomas do not arise from."""

from __future__ import annotations

from ..ontology import load_ontology

# Cells of the blood; fibroblasts, stromal, mesenchymal stem and leptomeningeal cells; endothelium; smooth muscle,
# pericytes and other mural cells.
NORMAL_ROOTS = (
    "CL:0000988", "CL:0000057", "CL:0000499", "CL:0000134", "CL:4023051",
    "CL:0000115", "CL:0000192", "CL:0000669", "CL:0008034",
)  # fmt: skip


def is_normal_lineage(term: str) -> bool:
    """Whether a Cell Ontology term is an immune or stromal one; False where the term is unknown.

    Examples
    --------
    >>> is_normal_lineage("CL:0000084"), is_normal_lineage("CL:0000066")  # T cell, epithelial cell
    (True, False)
    """
    ontology = load_ontology()
    if term not in ontology.name and term not in ontology.replaced:
        return False
    return any(ontology.is_a(term, root) for root in NORMAL_ROOTS)
