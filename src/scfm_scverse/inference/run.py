"""Blocks of CSR rows in, one array of cell embeddings out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .._logging import progress
from .._settings import settings
from ..tokens import Tokens
from .buckets import minibatches
from .device import Dtype, choose_device, choose_dtype, cpu_threads

if TYPE_CHECKING:
    from ..models.base import CellModel

TOKEN_BUDGET = 2**20


def encode_cells(
    blocks: Iterable[tuple[int, sp.csr_matrix]],
    n_cells: int,
    *,
    model: CellModel,
    tokenize: Callable[[sp.csr_matrix], Tokens],
    batch_size: int | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
) -> NDArray[np.float32]:
    """Embed every cell.

    Parameters
    ----------
    blocks
        Pairs of the position of the first row and the rows, covering every cell once.
    n_cells
        Number of cells.
    model, tokenize
        The model and its tokeniser for this matrix.
    batch_size
        Cells in a minibatch at most; ``None`` cuts by tokens alone.
    device, dtype
        Where and how precisely the model computes.

    Returns
    -------
    float32 [n, d] in the order of the cells. A cell without tokens gives a row of NaN.
    """
    where, precision = choose_device(device), choose_dtype(dtype)
    out = np.full((n_cells, model.spec.dim), np.nan, dtype=np.float32)
    n_blocks = -(-n_cells // settings.block_size)
    with cpu_threads():
        for first, block in progress(blocks, total=n_blocks, unit="block", label=f"embedding with {model.spec.name}"):
            tokens = tokenize(block)
            lengths = tokens.lengths
            filled = np.flatnonzero(lengths)
            for group in minibatches(lengths[filled], token_budget=TOKEN_BUDGET, batch_size=batch_size):
                cells = filled[group]
                answer = model.encode(tokens.take(cells), frozenset({"cell"}), device=where, dtype=precision)
                out[first + cells] = answer["cell"].float().cpu().numpy()
    return out
