"""A network where it is asked to compute, in the precision asked for."""

from __future__ import annotations

from copy import deepcopy
from typing import Generic, TypeVar

import torch
from torch import nn

Module = TypeVar("Module", bound=nn.Module)


class Copies(Generic[Module]):
    """Hold a network in float32 on the CPU, and one copy of it elsewhere or in another precision.

    Parameters
    ----------
    module
        The network; it is put into evaluation mode.
    """

    def __init__(self, module: Module) -> None:
        self.original = module.eval()
        self._where: tuple[torch.device, torch.dtype] | None = None
        self._copy: Module | None = None

    def on(self, device: torch.device, dtype: torch.dtype) -> Module:
        """Return the network there; the last copy is kept, so that minibatches do not make one each."""
        if device.type == "cpu" and dtype == torch.float32:
            return self.original
        if self._copy is None or self._where != (device, dtype):
            self._copy = None  # room for the next one
            self._copy = deepcopy(self.original).to(device, dtype)
            self._where = (device, dtype)
        return self._copy
