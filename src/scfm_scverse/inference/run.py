"""Blocks of CSR rows in, answers of a model out, in minibatches of cells of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._logging import progress_bar
from ..tokens import Tokens
from .buckets import minibatches, token_budget
from .device import Dtype, choose_device, choose_dtype, cpu_threads

if TYPE_CHECKING:
    from ..models.base import CellModel, Encoded, Wanted
    from .resume import Partial


def encode_groups(
    blocks: Iterable[tuple[int, sp.csr_matrix]],
    n_cells: int,
    *,
    model: CellModel,
    tokenize: Callable[..., Tokens],
    want: Wanted,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    done: NDArray[np.bool_] | None = None,
    totals: NDArray[np.float64] | None = None,
) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
    """Run a model over every cell that has tokens.

    Parameters
    ----------
    blocks
        Pairs of the position of the first row and the rows, covering every cell once.
    n_cells
        Number of cells.
    model, tokenize
        The model and its tokeniser for this matrix.
    want
        What is read of the model.
    batch_size
        Cells in a minibatch at most; ``None`` cuts by tokens alone.
    device, dtype
        Where and how precisely the model computes.
    done
        Cells to leave out [n].
    totals
        Total counts of the cells [n], for a model that reads them.

    Yields
    ------
    Positions of the cells of a minibatch, [b], and what the model says of them.
    """
    where = choose_device(device)
    precision = choose_dtype(dtype, where, bears_bfloat16=model.spec.bfloat16)
    budget = token_budget(model.spec.minibatch_tokens, where)
    total = n_cells if done is None else n_cells - int(done.sum())
    with cpu_threads(), progress_bar(total, unit="cell", label=f"running {model.spec.name}") as advance:
        groups = token_groups(
            blocks, tokenize, token_budget=budget, batch_size=batch_size, done=done, totals=totals, left_out=advance
        )
        for cells, tokens in groups:
            yield cells, model.encode(tokens, want, device=where, dtype=precision)
            advance(len(cells))


def token_groups(
    blocks: Iterable[tuple[int, sp.csr_matrix]],
    tokenize: Callable[..., Tokens],
    *,
    token_budget: int,
    batch_size: int | None,
    done: NDArray[np.bool_] | None = None,
    totals: NDArray[np.float64] | None = None,
    left_out: Callable[[int], object] | None = None,
) -> Iterator[tuple[NDArray[np.int64], Tokens]]:
    """Tokenise blocks and cut each into minibatches of cells of like length.

    Parameters
    ----------
    blocks, tokenize, batch_size, done, totals
        As in :func:`encode_groups`.
    token_budget
        Tokens of a minibatch.
    left_out
        Is told, block by block, how many cells have no tokens.

    Yields
    ------
    Positions of the cells of a minibatch, [b], and their tokens, one at least in each cell.
    """
    for first, block in blocks:
        n = block.shape[0]
        left = np.ones(n, bool) if done is None else ~done[first : first + n]
        n_left = int(left.sum())
        if n_left:
            tokens = tokenize(block) if totals is None else tokenize(block, totals[first : first + n])
            left &= tokens.lengths > 0
            cells = np.flatnonzero(left)
            for group in minibatches(tokens.lengths[cells], token_budget=token_budget, batch_size=batch_size):
                chosen = cells[group]
                yield first + chosen, tokens.take(chosen)
            if left_out is not None:
                left_out(n_left - len(cells))


def encode_cells(
    groups: Iterable[tuple[NDArray[np.int64], Encoded]], n_cells: int, dim: int, partial: Partial | None = None
) -> NDArray[np.float32]:
    """Gather the embeddings of cells.

    Parameters
    ----------
    groups
        What :func:`encode_groups` yields.
    n_cells
        Number of cells.
    dim
        Width of an embedding, where no cell tells it.
    partial
        Where finished cells are kept, and found again if the work was cut short.

    Returns
    -------
    float32 [n, d] in the order of the cells. A cell that no group holds, having no tokens, gets a row of NaN.
    """
    out: NDArray[np.float32] | None = None if partial is None else partial.rows
    for cells, answer in groups:
        if answer.cell is None:
            continue
        rows = answer.cell.float().cpu().numpy()
        if out is None:
            out = np.full((n_cells, rows.shape[1]), np.nan, np.float32)
        out[cells] = rows
        if partial is not None:
            partial.add(cells, rows)
    return np.full((n_cells, dim), np.nan, np.float32) if out is None else out
