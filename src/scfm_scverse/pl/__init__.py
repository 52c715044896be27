"""Plots: draw what the verbs wrote, compute nothing but layout."""

from ._annotation import annotation
from ._calibration import calibration
from ._composition import composition
from ._confusion import confusion
from ._copy_number import copy_number
from ._embedding import embedding
from ._prediction_sets import prediction_sets

__all__ = ["annotation", "calibration", "composition", "confusion", "copy_number", "embedding", "prediction_sets"]
