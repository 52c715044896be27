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
            torch.empty(0, device=device).cpu()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            # torch answers an unknown word and a missing driver with different exceptions; users need one sentence.
            reason = str(error).splitlines()[0].split(". ")[0][:160]
            msg = f"device={name!r} cannot be used here; expected 'auto', 'cpu', 'cuda' or 'mps' ({reason})."
            raise InputError(msg) from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def choose_dtype(name: Dtype, device: torch.device, *, bears_bfloat16: bool = False) -> torch.dtype:
    """Return the torch type called ``name``; ``"auto"`` is bfloat16 where model and device gain by it, else float32."""
    import torch

    known = {"float32": torch.float32, "bfloat16": torch.bfloat16}
    if name == "auto":
        return torch.bfloat16 if bears_bfloat16 and _computes_in_bfloat16(device) else torch.float32
    if name not in known:
        msg = f"dtype={name!r} is not known; expected one of 'auto', {', '.join(map(repr, known))}."
        raise InputError(msg)
    return known[name]


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 faster than those of float32."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # Without these instructions bfloat16 is emulated, fifty times slower than float32.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


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
