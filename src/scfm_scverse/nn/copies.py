"""A network where it is asked to compute, in the precision asked for."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


def state_of(module: nn.Module) -> tuple[tuple[int, int], ...]:
    """Return what changes whenever weights do: which tensors there are, and how often each was written."""
    tensors = (*module.parameters(), *module.buffers())
    # Tensors that were made for inference alone keep no count.
    return tuple((id(one), 0 if one.is_inference() else one._version) for one in tensors)


class Copies(Generic[Module]):
    """Hold a network in float32 on the CPU, and one copy of it elsewhere or in another precision.

    Parameters
    ----------
    module
        The network; it is put into evaluation mode.
    """

    def __init__(self, module: Module) -> None:
        self.original = module.eval()
        self._made_for: tuple[object, ...] | None = None
        self._copy: Module | None = None

    def on(self, device: torch.device, dtype: torch.dtype) -> Module:
        """Return the network there; the last copy is kept until the network changes or another one is asked for."""
        if device.type == "cpu" and dtype == torch.float32:
            return self.original
        asked = (device, dtype, state_of(self.original))
        if self._copy is None or self._made_for != asked:
            self._copy = None  # room for the next one
            self._copy = deepcopy(self.original).to(device, dtype)
            self._made_for = asked
        return self._copy
