"""How a model is to be run: what the authors' script has options for, and how closely it is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ..._errors import InputError
from ...tokens.read_depth import Sample, TargetDepth

Mode = Literal["default", "original"]
PreNormalized = Literal["F", "T", "A"]


@dataclass(frozen=True)
class Options:
    """Options of :func:`scfm_scverse.models.scfoundation.load`."""

    target_depth: str = "t4"
    input_type: Sample = "singlecell"
    pre_normalized: PreNormalized = "F"
    target_sum: float = 1e4
    mode: Mode = "default"

    def __post_init__(self) -> None:
        for name, known in (("input_type", Sample), ("pre_normalized", PreNormalized), ("mode", Mode)):
            if getattr(self, name) not in get_args(known):
                expected = " or ".join(map(repr, get_args(known)))
                msg = f"Found {name}={getattr(self, name)!r}; expected {expected}."
                raise InputError(msg)
        if self.input_type == "bulk" and self.pre_normalized == "A":
            msg = "Found pre_normalized='A' with input_type='bulk'; expected 'F' or 'T', as bulk samples take no total."
            raise InputError(msg)
        if not self.target_sum > 0:
            msg = f"Found target_sum={self.target_sum}; expected a number above 0."
            raise InputError(msg)
        self.target  # noqa: B018 (read once, so that a wrong text stops here)

    @property
    def target(self) -> TargetDepth:
        """The depth T."""
        return TargetDepth.parse(self.target_depth)

    def __str__(self) -> str:
        """What of it changes a result, for the model's version."""
        told = [str(self.target) if self.input_type == "singlecell" else "bulk"]
        told += [] if self.pre_normalized == "F" else [self.pre_normalized]
        told += [] if self.target_sum == 1e4 else [f"{self.target_sum:g}"]
        told += [] if self.mode == "default" else [self.mode]
        return "-".join(told)
