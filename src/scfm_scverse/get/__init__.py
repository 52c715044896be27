"""Tidy tables of what the verbs wrote."""

from ._calibration import calibration
from ._composition import composition
from ._confusion import confusion
from ._copy_number import copy_number
from ._evidence import evidence
from ._genes import gene_attention, gene_embedding
from ._perturbation_effect import perturbation_effect
from ._perturbations import perturbations
from ._perturbed_cells import perturbed_cells
from ._prediction_sets import prediction_sets
from ._tables import annotation, cell_types

__all__ = [
    "annotation",
    "calibration",
    "cell_types",
    "composition",
    "confusion",
    "copy_number",
    "evidence",
    "gene_attention",
    "gene_embedding",
    "perturbation_effect",
    "perturbations",
    "perturbed_cells",
    "prediction_sets",
]
