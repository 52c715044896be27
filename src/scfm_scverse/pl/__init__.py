"""Plots: draw what the verbs wrote, compute nothing but layout."""

from ._annotation import annotation
from ._calibration import calibration
from ._composition import composition
from ._confusion import confusion
from ._copy_number import copy_number
from ._embedding import embedding
from ._memory import memory
from ._perturbation_heatmap import perturbation_heatmap
from ._perturbation_rank import perturbation_rank
from ._perturbation_umap import perturbation_umap
from ._perturbation_volcano import perturbation_volcano
from ._prediction_sets import prediction_sets
from ._training import training

__all__ = [
    "annotation",
    "calibration",
    "composition",
    "confusion",
    "copy_number",
    "embedding",
    "memory",
    "perturbation_heatmap",
    "perturbation_rank",
    "perturbation_umap",
    "perturbation_volcano",
    "prediction_sets",
    "training",
]
