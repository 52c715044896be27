"""From blocks of a matrix to arrays, one row a cell, in the order in which the cells came."""

from .run import encode_cells

__all__ = ["encode_cells"]
