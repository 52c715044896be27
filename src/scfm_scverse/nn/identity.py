"""What tells a network, with the vocabulary that it reads, from every other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..io.safetensors import hash_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

AUXILIARY = "grad_reverse_discriminator"  # the part that any network may be trained against, and then does without


def lasting_tensors(network: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers that make the model, on the CPU: what its files hold."""
    state = network.state_dict()
    return {name: one.cpu().contiguous() for name, one in state.items() if not name.startswith(f"{AUXILIARY}.")}


def arrays_of(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[Any]]:
    """Tensors as arrays, decimal numbers in float32, as every file is read: NumPy has no bfloat16."""
    return {
        name: (one.float() if one.is_floating_point() else one).detach().cpu().numpy() for name, one in tensors.items()
    }


def hash_network(network: nn.Module, vocabulary: NDArray[np.str_], *more: NDArray[Any]) -> str:
    """First 16 hexadecimal digits of the SHA-256 of all weights, of the vocabulary, and of more that changes results.

    The file that the weights came from has no part in it: the same numbers in another format are the same model.
    """
    arrays = arrays_of(lasting_tensors(network))
    arrays["the vocabulary"] = np.frombuffer("\n".join(vocabulary.tolist()).encode(), np.uint8)
    return hash_tensors(arrays | {f"more {i}": array for i, array in enumerate(more)})
