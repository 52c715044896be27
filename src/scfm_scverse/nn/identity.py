"""What tells a network, with the vocabulary that it reads, from every other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.safetensors import hash_tensors

if TYPE_CHECKING:
    from torch import nn


def hash_network(network: nn.Module, vocabulary: NDArray[np.str_], *more: NDArray[Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of all weights, of the vocabulary, and of more that changes results.

    The file that the weights came from has no part in it: the same numbers in another format are the same model.
    """
    arrays: dict[str, NDArray[Any]] = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    arrays["the vocabulary"] = np.frombuffer("\n".join(vocabulary.tolist()).encode(), np.uint8)
    return hash_tensors(arrays | {f"more {i}": array for i, array in enumerate(more)})
