"""The bytes that tensors hold, operation by operation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Live(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Count the bytes of all tensors that come out of operations, for as long as they live.

    Parameters
    ----------
    known
        Tensors that are not counted, views of them included.

    Attributes
    ----------
    now
        Bytes that are held.
    peaks
        Most bytes held in each stretch between two calls of :meth:`mark`.
    """

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peaks = [0]
        self._held: dict[int, ref[Any]] = {}
        self._known = {tensor.untyped_storage()._cdata for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation and count what is new of its results."""
        del types
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                self._add(tensor)
        # Gradients of what was used twice are added in place where nothing watches, and are not here.
        if func is not torch.ops.aten.add.Tensor or torch.is_grad_enabled():
            self.peaks[-1] = max(self.peaks[-1], self.now)
        return out

    def mark(self) -> None:
        """Begin a new stretch."""
        self.peaks.append(self.now)

    def _add(self, tensor: Tensor) -> None:
        if tensor.is_sparse:
            self._add(tensor._indices())
            self._add(tensor._values())
            return
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._held or key in self._known:
            return
        size = storage.nbytes()

        def forget(_: object) -> None:
            self.now -= size
            del self._held[key]

        self._held[key] = ref(storage, forget)
        self.now += size


def bytes_of(tensor: Tensor) -> int:
    """Bytes of a tensor: those of its rows where it is sparse."""
    parts = (tensor._indices(), tensor._values()) if tensor.is_sparse else (tensor,)
    return sum(part.numel() * part.element_size() for part in parts)
