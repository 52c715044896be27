"""Malignant cells by gains and losses of chromosomes."""

from .lineage import is_normal_lineage
from .malignant import malignant_score
from .measure import CopyNumber, measure_copy_number
from .windows import Windows, order_genes

__all__ = ["CopyNumber", "Windows", "is_normal_lineage", "malignant_score", "measure_copy_number", "order_genes"]
