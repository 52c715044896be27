"""What networks are trained for: each objective is one small class, and those that read one pass combine."""

from .base import Joint, Objective, Reading
from .cell_types import CellTypes, balanced_weights
from .freezing import freeze_layers
from .generative import GenerativeExpression
from .integration import DomainAdversarial, DomainNorms, ElasticSimilarity, integration
from .masked_expression import MaskedExpression
from .masked_levels import MaskedLevels
from .masked_ranks import MaskedRanks
from .masked_values import MaskedValues
from .read_depth import ReadDepthAware
from .reconstruction import Reconstruction

__all__ = [
    "CellTypes",
    "DomainAdversarial",
    "DomainNorms",
    "ElasticSimilarity",
    "GenerativeExpression",
    "Joint",
    "MaskedExpression",
    "MaskedLevels",
    "MaskedRanks",
    "MaskedValues",
    "Objective",
    "ReadDepthAware",
    "Reading",
    "Reconstruction",
    "balanced_weights",
    "freeze_layers",
    "integration",
]
