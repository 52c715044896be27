"""How a model is to be run: what the rule leaves open, and how closely the authors' program is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..._errors import InputError
from ...tokens.bins import Sampling, Ties

Mode = Literal["default", "original"]


@dataclass(frozen=True)
class Options:
    """Options of :func:`scfm_scverse.models.scgpt.load`."""

    ties: Ties = "hash"
    sampling: Sampling = "hash"
    max_length: int = 1200
    random_state: int = 0
    mode: Mode = "default"
    batch: int | None = None
    cls_value: float | None = None

    def __post_init__(self) -> None:
        for name, known in (("ties", Ties), ("sampling", Sampling), ("mode", Mode)):
            if getattr(self, name) not in get_args(known):
                expected = " or ".join(map(repr, get_args(known)))
                msg = f"Found {name}={getattr(self, name)!r}; expected {expected}."
                raise InputError(msg)
        for name, least, most in (("max_length", 2, 2**31), ("random_state", 0, 2**32), ("batch", 0, 2**31)):
            value = getattr(self, name)
            if value is not None and not least <= value < most:
                msg = f"Found {name}={value}; expected a number from {least} to {most - 1}."
                raise InputError(msg)

        if self.mode == "original" and self.sampling != "hash":
            msg = f"Found sampling={self.sampling!r} with mode='original', which draws; expected one of the two."
            raise InputError(msg)

    def __str__(self) -> str:
        """What of it changes a result, for the model's version."""
        told = [f"{name}={value}" for name, value in vars(self).items() if value != getattr(Options, name)]
        return "".join(f"-{one}" for one in told)
