"""From author labels and ontology terms to the broad classes of the head."""

from __future__ import annotations

from functools import cache

from scfm_scverse.ontology import load_ontology

# Name of a broad class in the tables of the shared folder -> (term that names it, roots below which a term belongs to
# it). The first class that fits wins, so special ones stand before general ones (a microglial cell is a glial cell
# too).
BROAD: dict[str, tuple[str, tuple[str, ...]]] = {
    "pDC": ("CL:0000784", ("CL:0000784",)),
    "plasma": ("CL:0000786", ("CL:0000786", "CL:0000980")),
    "B": ("CL:0000236", ("CL:0000945", "CL:0000826", "CL:0000817")),
    "T/NK": ("CL:0000542", ("CL:0000084", "CL:0001065", "CL:0000827")),
    "mast/basophil": ("CL:0000097", ("CL:0000097", "CL:0000767")),
    "neutrophil": ("CL:0000775", ("CL:0000775",)),
    "megakaryocyte/platelet": ("CL:0000763", ("CL:0000556", "CL:0000233", "CL:0000553")),
    "erythroid": ("CL:0000764", ("CL:0000764",)),
    "myeloid": (
        "CL:0000113",
        ("CL:0000576", "CL:0000235", "CL:0000451", "CL:0000113", "CL:0000092", "CL:0002194"),
    ),
    "HSPC": ("CL:0008001", ("CL:0008001",)),
    "neural progenitor": ("CL:0011020", ("CL:0011020", "CL:0000681")),
    "glia": ("CL:0000125", ("CL:0000125",)),
    "endocrine": ("CL:0000163", ("CL:0000163", "CL:0000171", "CL:0000169", "CL:0000173", "CL:0002275")),
    "neuron": ("CL:0000540", ("CL:0000540",)),
    "endothelial": ("CL:0000115", ("CL:0000115",)),
    "smooth muscle/pericyte": ("CL:0000183", ("CL:0000192", "CL:0000669", "CL:0008034")),
    "skeletal muscle": ("CL:0000188", ("CL:0000188", "CL:0000056", "CL:0000594", "CL:0000515")),
    "cardiomyocyte": ("CL:0000746", ("CL:0000746",)),
    "adipocyte": ("CL:0000136", ("CL:0000136",)),
    "melanocyte": ("CL:0000148", ("CL:0000148",)),
    "germ cell": ("CL:0000586", ("CL:0000586",)),
    "trophoblast": ("CL:0000351", ("CL:0000351",)),
    "fibroblast": ("CL:0000057", ("CL:0000057", "CL:0000499", "CL:0000134", "CL:4023051")),
    "epithelial": ("CL:0000066", ("CL:0000066",)),
}
TRIAL_CLASSES = (
    "T/NK", "B", "plasma", "myeloid", "pDC", "mast/basophil", "neutrophil", "megakaryocyte/platelet", "erythroid",
    "HSPC", "fibroblast", "smooth muscle/pericyte", "endothelial", "epithelial", "endocrine", "glia", "neuron",
    "neural progenitor",
)  # fmt: skip
"""The eighteen classes on which the published trials of this recipe were scored."""


@cache
def broad_of_term(term: str) -> str:
    """Broad class of an ontology term, '' where it belongs to none."""
    ontology = load_ontology()
    if term not in ontology.name and term not in ontology.replaced:
        return ""
    above = ontology.ancestors(term)
    for name, (_, roots) in BROAD.items():
        if any(root in above for root in roots):
            return name
    return ""


BRANCH_NAMES = {
    "pDC": "plasmacytoid dendritic cell",
    "plasma": "plasma cell",
    "B": "B lineage cell",
    "T/NK": "T or NK cell",
    "mast/basophil": "mast cell or basophil",
    "neutrophil": "neutrophil",
    "megakaryocyte/platelet": "megakaryocyte or platelet",
    "erythroid": "erythroid lineage cell",
    "myeloid": "monocyte, macrophage or dendritic cell",
    "HSPC": "hematopoietic precursor cell",
    "neural progenitor": "neural progenitor cell",
    "glia": "glial cell",
    "endocrine": "endocrine cell",
    "neuron": "neuron",
    "endothelial": "endothelial cell",
    "smooth muscle/pericyte": "smooth muscle cell or pericyte",
    "skeletal muscle": "skeletal muscle cell",
    "cardiomyocyte": "cardiac muscle cell",
    "adipocyte": "adipocyte",
    "melanocyte": "melanocyte",
    "germ cell": "germ cell",
    "trophoblast": "trophoblast cell",
    "fibroblast": "fibroblast or stromal cell",
    "epithelial": "epithelial cell",
}
"""What a user reads when the answer stops at the branch."""


def common_term(terms: list[str]) -> str:
    """Deepest term that lies above all of ``terms`` (or is one of them)."""
    ontology = load_ontology()
    shared = frozenset.intersection(*(ontology.ancestors(term) for term in terms))
    return max(shared, key=lambda term: (len(ontology.ancestors(term)), term))
