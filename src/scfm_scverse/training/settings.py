"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, Literal, get_args

from .._errors import InputError

OptimizerName = Literal["galore", "adamw", "adafactor"]
Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained.

    Attributes
    ----------
    max_epochs, max_steps
        Where training ends: whichever is reached first; ``-1`` steps is no limit.
    batch_size
        Cells that go through the network together.
    accumulate
        Minibatches whose gradients are added up for one step.
    optimizer, optimizer_kwargs
        ``"galore"`` (:class:`GaLoreAdamW`), ``"adamw"`` (torch's, fused) or ``"adafactor"`` (torch's), and what it is
        to be told beside ``lr`` and ``weight_decay``; for GaLore also what :func:`galore_param_groups` takes. GaLore
        projects each gradient as soon as it is there (in one process) and keeps moments in 8 bits unless told
        otherwise by ``in_backward`` and ``moments``.
    lora_rank
        Train thin matrices of this rank beside frozen linear layers, and the heads; ``None`` trains all weights.
    lr
        Peak of the learning rate; ``None`` is what suits the optimizer.
    weight_decay
        Share of a matrix that is taken off at each step, times ``lr``; biases, norms and tables keep theirs.
    warmup
        Steps in which the learning rate rises, below 1 as a share of all steps. It falls along a cosine after that.
    gradient_clip
        Largest norm of all gradients together; ``None`` for none.
    precision
        ``"bfloat16"`` keeps and moves weights in 16 bits, rounded stochastically.
    recompute
        Compute what is inside a layer twice instead of keeping it, which saves most of the memory of activations for
        a third more time.
    patience
        Validations without a better loss after which training stops; ``None`` goes on.
    checkpoint_every
        Steps from one checkpoint to the next, where a folder for them is given; one more stands at every epoch's end.
    device
        ``"auto"`` takes a CUDA GPU where there is one, else the CPU.
    devices
        Processes that train together on a CPU, each on its part of every minibatch.
    seed
        Of everything random.

    Raises
    ------
    InputError
        A number is out of its range, or a name is unknown.
    """

    max_epochs: int = 10
    max_steps: int = -1
    batch_size: int = 32
    accumulate: int = 1
    optimizer: OptimizerName = "galore"
    optimizer_kwargs: Mapping[str, Any] = field(default_factory=dict)
    lora_rank: int | None = None
    lr: float | None = None
    weight_decay: float = 0.01
    warmup: float = 0.1
    gradient_clip: float | None = 1.0
    precision: Precision = "float32"
    recompute: bool = False
    patience: int | None = None
    checkpoint_every: int = 500
    device: str = "auto"
    devices: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Stop where a value could not be used, before any work."""
        if self.max_epochs == -1 and self.max_steps == -1:
            msg = "Found max_epochs=-1 and max_steps=-1, which never ends; expected one of them to be 1 at least."
            raise InputError(msg)
        for name in ("max_epochs", "max_steps"):
            if getattr(self, name) != -1:
                self._require(name, getattr(self, name) >= 1, "a whole number, 1 at least, or -1 for no limit")
        for name in ("batch_size", "accumulate", "checkpoint_every", "devices"):
            self._require(name, getattr(self, name) >= 1, "a whole number, 1 at least")
        for name in ("lora_rank", "patience"):
            value = getattr(self, name)
            self._require(name, value is None or value >= 1, "a whole number, 1 at least, or None")
        for name in ("lr", "gradient_clip"):
            value = getattr(self, name)
            self._require(name, value is None or 0 < value < inf, "a number above 0, or None")
        for name in ("weight_decay", "warmup"):
            self._require(name, 0 <= getattr(self, name) < inf, "a number, 0 or more")
        for name, known in (("optimizer", get_args(OptimizerName)), ("precision", get_args(Precision))):
            self._require(name, getattr(self, name) in known, f"one of {', '.join(map(repr, known))}")

    def _require(self, name: str, holds: bool, expected: str) -> None:  # noqa: FBT001 (what is required)
        if not holds:
            msg = f"Found {name}={getattr(self, name)!r}; expected {expected}."
            raise InputError(msg)
