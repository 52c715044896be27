"""Checkpoints of other programs: read without executing anything, placed tensor by tensor."""

from .place import LoadReport, place
from .read import read_json, read_pickle, read_safetensors, read_torch

__all__ = ["LoadReport", "place", "read_json", "read_pickle", "read_safetensors", "read_torch"]
