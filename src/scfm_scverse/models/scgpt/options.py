"""How a model is to be run: what the rule leaves open, and how closely the authors' program is followed."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, get_args

from ..._errors import InputError
from ...tokens.bins import Sampling, Ties

Mode = Literal["default", "original"]
OF_TRAINING = ("max_length", "cls_value")  # what a network is trained with and a folder remembers
LARGEST = 3.4e38  # that a value in single precision can be


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
        self._check_whole("max_length", 2, 2**31)
        self._check_whole("random_state", 0, 2**32)
        if self.batch is not None:
            self._check_whole("batch", 0, 2**31)
        if self.cls_value is not None:
            self._check_finite("cls_value")
        if self.mode == "original" and self.sampling != "hash":
            msg = f"Found sampling={self.sampling!r} with mode='original', which draws; expected one of the two."
            raise InputError(msg)

    def _check_whole(self, name: str, least: int, most: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, Integral) or not least <= int(value) < most:
            msg = f"Found {name}={value!r}; expected a whole number from {least} to {most - 1}."
            raise InputError(msg)
        object.__setattr__(self, name, int(value))  # NumPy's numbers are written otherwise

    def _check_finite(self, name: str) -> None:
        value = getattr(self, name)
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        if not is_number or not abs(value) <= LARGEST:
            msg = f"Found {name}={value!r}; expected a finite number."
            raise InputError(msg)
        object.__setattr__(self, name, float(value))

    @property
    def told(self) -> tuple[tuple[str, str], ...]:
        """Names and values of those that are not the defaults."""
        return tuple((name, str(value)) for name, value in vars(self).items() if value != getattr(Options, name))
