"""What a trained model answers, cell by cell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._query import check_batch_size
from ..inference import encode_cells, encode_groups
from ..inference.buckets import token_budget
from ..inference.device import choose_device, cpu_threads
from ..inference.run import token_groups
from ..models import CellModel, Encoded, Pass, Trainable, Wanted
from ..training.cells import Cells
from .data import blocks_of

if TYPE_CHECKING:
    import torch


def trainable(model: CellModel) -> Trainable:
    """Return a model that can be trained.

    Raises
    ------
    InputError
        It cannot.
    """
    if not hasattr(model, "network") or not hasattr(model, "write"):
        msg = f"Found {model.spec.name}, which cannot be trained; expected a scfm.models.Trainable."
        raise InputError(msg)
    return cast("Trainable", model)


def reads_batches(model: CellModel) -> bool:
    """Whether the network's answers depend on the batch of a cell."""
    return bool(getattr(getattr(getattr(model, "network", None), "config", None), "reads_batches", False))


def cell_vectors(
    model: CellModel, cells: Cells, rows: NDArray[np.int64], *, batch_size: int | None, device: str
) -> NDArray[np.float32]:
    """Vectors of cells as :func:`scfm_scverse.tl.embed` writes them, [n, d]; NaN for a cell without tokens."""
    check_batch_size(batch_size)
    wanted, where = np.unique(rows, return_inverse=True)
    if reads_batches(model):
        out = np.full((len(wanted), model.spec.dim), np.nan, np.float32)
        for at, seen, _ in passes(trainable(model), cells, wanted, batch_size=batch_size, device=device):
            vectors = seen.cell.float()
            out[at] = (vectors / vectors.norm(dim=1, keepdim=True)).cpu().numpy()
        return out[where]
    groups = encoded(model, cells, wanted, Wanted(), batch_size=batch_size, device=device)
    return encode_cells(groups, len(wanted), model.spec.dim)[where]


def encoded(
    model: CellModel, cells: Cells, rows: NDArray[np.int64], want: Wanted, *, batch_size: int | None, device: str
) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
    """Yield what a model says of chosen cells, ascending: positions among ``rows``, and the answer."""
    return encode_groups(
        blocks_of(cells.matrix, rows),
        len(rows),
        model=model,
        tokenize=cells.tokenize,
        want=want,
        batch_size=batch_size,
        device=device,
        totals=None if cells.totals is None else cells.totals[rows],
    )


def class_probabilities(
    model: Trainable, cells: Cells, rows: NDArray[np.int64], *, n_classes: int, batch_size: int | None, device: str
) -> NDArray[np.float32]:
    """Probability of every class for chosen cells, [n, c]; NaN for a cell without tokens."""
    check_batch_size(batch_size)
    wanted, where = np.unique(rows, return_inverse=True)
    out = np.full((len(wanted), n_classes), np.nan, np.float32)
    for at, seen, _ in passes(model, cells, wanted, batch_size=batch_size, device=device):
        logits = model.class_logits(seen)
        if logits.shape[1] != n_classes:
            msg = (
                f"Found a head of {logits.shape[1]} classes for {n_classes} labels, as a training leaves it that was "
                'cut short; expected one that was trained to its end: call train(objective="cell_type") again.'
            )
            raise InputError(msg)
        out[at] = logits.float().softmax(1).cpu().numpy()
    return out[where]


def likeliest(probabilities: NDArray[np.float32], names: Sequence[Any]) -> NDArray[np.object_]:
    """Name of the likeliest class of each cell [n]; NaN where its probabilities are NaN."""
    empty = np.isnan(probabilities[:, 0])
    found: NDArray[np.object_] = np.array(names, object)[np.where(empty, 0, probabilities.argmax(1))]
    found[empty] = np.nan
    return found


def passes(
    model: Trainable, cells: Cells, rows: NDArray[np.int64], *, batch_size: int | None, device: str
) -> Iterator[tuple[NDArray[np.int64], Pass, torch.Tensor | None]]:
    """Run a network on chosen cells, ascending, without gradients.

    Yields
    ------
    Positions among ``rows`` of the cells of a minibatch, all with tokens; what the network made of them; their batches.
    """
    import torch

    if reads_batches(model):
        _check_batches(model, None if cells.batches is None else cells.batches[rows])
    with _placed(model, device) as place, torch.inference_mode(), cpu_threads():
        groups = token_groups(
            blocks_of(cells.matrix, rows),
            cells.tokenize,
            token_budget=token_budget(model.spec.minibatch_tokens, place),
            batch_size=batch_size,
            totals=None if cells.totals is None else cells.totals[rows],
        )
        for at, tokens in groups:
            batches = None if cells.batches is None else torch.from_numpy(cells.batches[rows[at]]).to(place)
            yield at, model.run(tokens, batches=batches), batches


def _check_batches(model: Trainable, batches: NDArray[np.int64] | None) -> None:
    """Stop where a network that tells batches apart could not tell those of the cells."""
    if batches is None:
        msg = f"Found no batches of cells; {model.spec.name} was trained to tell them apart: obs needs their column."
        raise InputError(msg)
    strange = {"no batch": batches < 0, "a new batch": batches >= cast(Any, model.network).config.n_batches}
    for what, cells in strange.items():
        if cells.any():
            msg = (
                f"Found {int(cells.sum()):,} cells of {what}; expected batches that {model.spec.name} was trained to "
                'tell apart: train(objective="integration") on such cells first, or leave them out.'
            )
            raise InputError(msg)


@contextmanager
def _placed(model: Trainable, device: str) -> Iterator[torch.device]:
    """Put the network on a device and into evaluation, and back on the CPU afterwards."""
    place = choose_device(device)
    model.network.eval().to(place)
    try:
        yield place
    finally:
        model.network.to("cpu")
