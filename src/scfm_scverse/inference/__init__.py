"""From blocks of a matrix to arrays, one row a cell, in the order in which the cells came."""

from .resume import Partial
from .run import encode_cells, encode_groups

__all__ = ["Partial", "encode_cells", "encode_groups"]
