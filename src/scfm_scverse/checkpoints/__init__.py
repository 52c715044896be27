"""Checkpoints of other programs: read without executing anything, placed tensor by tensor."""

from .json_files import read_json
from .pickles import read_pickle
from .place import LoadReport, place
from .safetensors_files import read_safetensors
from .tensors import mentions, read_tensors, read_weights
from .torch_files import read_torch

__all__ = [
    "LoadReport",
    "mentions",
    "place",
    "read_json",
    "read_pickle",
    "read_safetensors",
    "read_tensors",
    "read_torch",
    "read_weights",
]
