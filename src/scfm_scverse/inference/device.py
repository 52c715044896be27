"""Where a model runs and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from .._errors import InputError
from .._settings import settings

if TYPE_CHECKING:
    import torch

Dtype = Literal["auto", "float32", "bfloat16"]


def choose_device(name: str) -> torch.device:
    """Return the device called ``name``; ``"auto"`` takes a CUDA or Apple GPU where there is one."""
    import torch

    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            # torch answers an unknown word and a missing driver with different exceptions; users need one sentence.
            msg = f"device={name!r} cannot be used here; expected 'auto', 'cpu', 'cuda' or 'mps' ({error})."
            raise InputError(msg.splitlines()[0]) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(name: Dtype) -> torch.dtype:
    """Return the torch type called ``name``; ``"auto"`` is float32, the only one no result is lost in."""
    import torch

    known = {"auto": torch.float32, "float32": torch.float32, "bfloat16": torch.bfloat16}
    if name not in known:
        msg = f"dtype={name!r} is not known; expected one of {', '.join(map(repr, known))}."
        raise InputError(msg)
    return known[name]


@contextmanager
def cpu_threads() -> Iterator[None]:
    """Use ``settings.n_jobs`` threads inside the block and put the number back afterwards."""
    import torch

    if settings.n_jobs is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(settings.n_jobs)
    try:
        yield
    finally:
        torch.set_num_threads(before)
