"""How much memory a training takes, told before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from .._errors import InputError
from ..models.base import Columns
from .batch import Batch
from .live import Live, bytes_of
from .optimizers import make_optimizer, prepare_training
from .sizes import Sizes, sizes_of

if TYPE_CHECKING:
    from ..models.trainable import Trainable
    from .objectives import Objective
    from .settings import TrainSettings

MIB = 2**20


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes that a training holds when it holds most, beside what Python and its libraries take.

    Attributes
    ----------
    name
        Of the training, for tables and plots.
    weights
        Parameters and buffers.
    optimizer
        State of the optimizer, moments above all.
    gradients
        Gradients of parameters, or what is kept of them.
    activations
        What the network keeps for the gradient.
    temporaries
        What is on its way.
    """

    name: str
    weights: int
    optimizer: int
    gradients: int
    activations: int
    temporaries: int

    @property
    def parts(self) -> dict[str, int]:
        """Bytes of each part."""
        return {
            part: getattr(self, part) for part in ("weights", "optimizer", "gradients", "activations", "temporaries")
        }

    @property
    def peak(self) -> int:
        """Bytes of all parts together."""
        return sum(self.parts.values())

    def __str__(self) -> str:
        """One line a part, in MiB."""
        rows = [*self.parts.items(), ("peak", self.peak)]
        return "\n".join([self.name, *(f"  {name:12s}{size / MIB:10,.1f} MiB" for name, size in rows)])


@dataclass(frozen=True)
class _Trace:
    """What a forward and a backward pass held, stretch by stretch.

    Attributes
    ----------
    held, kept
        Most bytes beside weights and gradients, and bytes kept of the gradients so far, [s] both.
    forward
        Number of stretches of the forward pass.
    after_forward
        Bytes held at its end.
    """

    held: NDArray[np.int64]
    kept: NDArray[np.int64]
    forward: int
    after_forward: int

    def summary(self) -> _Trace:
        """Return both passes as one stretch each."""
        cut = [0, self.forward]
        return _Trace(np.maximum.reduceat(self.held, cut), np.maximum.reduceat(self.kept, cut), 1, self.after_forward)


def estimate_memory(
    model: Trainable,
    *,
    batch_size: int,
    n_tokens: int,
    settings: TrainSettings,
    objective: Objective | None = None,
    name: str = "training",
) -> MemoryEstimate:
    """Tell how much memory a training will take.

    A forward and a backward pass of one cell and of two cells are run on a copy of the network, and what they hold is
    noted operation by operation. As no cell depends on another, the bytes of each stretch grow by the same number
    with every further cell. The state of the optimizer follows from the shapes of the parameters, so neither it nor
    all gradients are ever allocated.

    Parameters
    ----------
    model
        The model; it stays as it is.
    batch_size
        Cells that go through the network together.
    n_tokens
        Genes of a cell; the model may read fewer.
    settings
        How it would be trained.
    objective
        What it would be trained for; ``None`` counts the network without what reads its rows.
    name
        Stands above the numbers.

    Raises
    ------
    InputError
        The vocabulary has fewer genes than ``n_tokens``, or ``batch_size`` is below 1.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.training import TrainSettings, estimate_memory
    >>> genes = scfm.genes.load_gene_table().symbol[:2000].tolist()
    >>> model = scfm.models.create("scgpt", genes, dim=32, n_layers=2, n_heads=4)
    >>> told = estimate_memory(model, batch_size=16, n_tokens=200, settings=TrainSettings(), name="small scGPT")
    >>> told.weights < told.peak < 40e6
    True
    """
    if batch_size < 1:
        msg = f"Found batch_size={batch_size}; expected 1 at least."
        raise InputError(msg)
    twin, aim = deepcopy(model), deepcopy(objective)
    prepare_training(twin, aim, settings)
    optimizer = make_optimizer(twin.network, settings)
    sizes = sizes_of(optimizer)
    del optimizer  # and its hooks
    traces = [_trace(twin, aim, _minibatch(twin, n, n_tokens), sizes) for n in range(1, 1 + min(batch_size, 2))]
    whole = _extended(traces, batch_size)
    held, kept = np.append(whole.held, sizes.step), np.append(whole.kept, whole.kept[-1])
    if settings.accumulate > 1:
        kept[:] = kept[-1]  # of the minibatches before
    at = int(np.argmax(held + kept))
    activations = min(int(held[at]), whole.after_forward) if at < len(held) - 1 else 0
    return MemoryEstimate(
        name,
        weights=sum(map(bytes_of, (*twin.network.parameters(), *twin.network.buffers()))),
        optimizer=sizes.state,
        gradients=int(kept[at]),
        activations=activations,
        temporaries=int(held[at]) - activations,
    )


def _trace(model: Trainable, objective: Objective | None, batch: Batch, sizes: Sizes) -> _Trace:
    """Run both passes of a minibatch. No gradient outlives the moment in which it is there."""
    network = model.network.train()
    live, kept = Live((*network.parameters(), *network.buffers())), [0]

    def begin(*_: object) -> None:
        live.mark()
        kept.append(kept[-1])

    def take(param: Tensor) -> None:
        begin()
        kept[-1] += sizes.kept.get(id(param), bytes_of(cast(Tensor, param.grad)))
        param.grad = None

    layers = [module for module in network.modules() if next(module.children(), None) is None]
    hooks = [layer.register_forward_hook(begin) for layer in layers]
    trained = [param for param in network.parameters() if param.requires_grad]
    hooks += [param.register_post_accumulate_grad_hook(take) for param in trained]  # type: ignore[no-untyped-call]
    with torch.random.fork_rng(devices=[]), live:
        loss = _loss(model, objective, batch)
        forward, after_forward = len(live.peaks), live.now
        begin()
        loss.backward()  # type: ignore[no-untyped-call]
    for hook in hooks:
        hook.remove()
    return _Trace(np.array(live.peaks), np.array(kept), forward, after_forward)


def _loss(model: Trainable, objective: Objective | None, batch: Batch) -> Tensor:
    if objective is not None:
        return cast(Tensor, sum(objective.losses(model, batch).values()))
    seen = model.run(batch.tokens, batches=batch.batches)
    return seen.rows.float().square().mean() + seen.cell.float().square().mean()


def _extended(traces: Sequence[_Trace], batch_size: int) -> _Trace:
    """Extend the straight line through one cell and two cells."""
    first, last = traces[0], traces[-1]
    if len(first.held) != len(last.held):  # layers that are called once a cell
        first, last = first.summary(), last.summary()
    more = batch_size - len(traces)
    return _Trace(
        last.held + more * (last.held - first.held),
        last.kept + more * (last.kept - first.kept),
        last.forward,
        last.after_forward + more * (last.after_forward - first.after_forward),
    )


def _minibatch(model: Trainable, n: int, n_tokens: int) -> Batch:
    """Cells that express some genes of the vocabulary, drawn at random."""
    genes = np.array([not gene.startswith("<") for gene in model.spec.genes])
    positions = np.flatnonzero(genes).astype(np.int32)
    if len(positions) < n_tokens:
        msg = f"Found n_tokens={n_tokens} for a vocabulary of {len(positions)} genes; expected as many at most."
        raise InputError(msg)
    rng = np.random.default_rng(0)
    columns = np.concatenate([rng.permutation(len(positions))[:n_tokens] for _ in range(n)])
    counts = rng.integers(1, 10, n * n_tokens).astype(np.float32)
    matrix = sp.csr_matrix((counts, columns, np.arange(n + 1) * n_tokens), shape=(n, len(positions)))
    names = tuple(model.spec.genes[positions].tolist())
    tokens = model.tokenizer(Columns(positions, np.ones(len(positions), np.bool_), 0.0, names))(matrix)
    zeros = torch.zeros(n, dtype=torch.int64)
    return Batch(tokens, np.arange(n), 0, labels=zeros, batches=zeros)
