"""Tools: compute and write into the AnnData."""

from ._annotate import annotate
from ._embed import embed

__all__ = ["annotate", "embed"]
