"""How a network is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

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
        to be told beside ``lr`` and ``weight_decay``; for GaLore also what :func:`galore_param_groups` takes.
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
    seed
        Of everything random.
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
    seed: int = 0
