"""Tools: compute and write into the AnnData."""

from ._annotate import annotate
from ._build_reference import build_reference
from ._copy_number import score_copy_number
from ._embed import embed

__all__ = ["annotate", "build_reference", "embed", "score_copy_number"]
