"""How the authors make minibatches for training: which genes, what is left out, padding, masks.

Random numbers come from streams that the caller begins, numpy's or torch's as in each of the authors' functions.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from ...tokens import Tokens

MASK_VALUE = -1


def tokens_of_bins(bins: NDArray[np.integer], ids: NDArray[np.integer], n_genes: int, *, zeros: bool) -> Tokens:
    """Tokens of a dense matrix of bins.

    Parameters
    ----------
    bins
        [n, g].
    ids
        Position of each column in the vocabulary, [g].
    n_genes
        Size of the vocabulary.
    zeros
        Whether genes that are not expressed are tokens too.
    """
    kept = np.ones(bins.shape, bool) if zeros else bins != 0
    indptr = np.concatenate([[0], np.cumsum(kept.sum(axis=1))])
    measured = np.zeros(n_genes, bool)
    measured[ids] = True
    positions = np.broadcast_to(ids.astype(np.int32), bins.shape)[kept]
    return Tokens(indptr, positions, bins[kept].astype(np.float32), measured)


def with_first(tokens: Tokens, first: int, value: float, *, empty: bool = True) -> Tokens:
    """Put a token in front of each cell, of those without tokens too if ``empty``."""
    cells = np.flatnonzero((tokens.lengths > 0) | empty)
    added = np.zeros(len(tokens), np.int64)
    added[cells] = 1
    return replace(
        tokens,
        indptr=tokens.indptr + np.concatenate([[0], np.cumsum(added)]),
        ids=np.insert(tokens.ids, tokens.indptr[cells], first),
        values=np.insert(tokens.values, tokens.indptr[cells], value),
    )


def shortened(
    tokens: Tokens, length: int, stream: np.random.RandomState | torch.Generator | None, *, keep: int = 1
) -> Tokens:
    """Leave ``length`` tokens of longer cells: the first ``keep``, then some that are drawn, in the order of the draw.

    Parameters
    ----------
    tokens
        Cells.
    length
        Tokens of a cell at most.
    stream
        Numpy's stream draws as the authors' tokeniser does, torch's as their collator; ``None`` cuts off.
    keep
        Tokens in front that stay.
    """
    rows = []
    for start, n in zip(tokens.indptr, tokens.lengths, strict=False):
        chosen = np.arange(min(n, length))
        if n > length and stream is not None:
            chosen[keep:] = keep + _drawn(int(n) - keep, length - keep, stream)
        rows.append(start + chosen)
    indptr = np.concatenate([[0], np.cumsum([len(chosen) for chosen in rows])]).astype(np.int64)
    at = np.concatenate(rows) if rows else np.empty(0, np.int64)
    return replace(tokens, indptr=indptr, ids=tokens.ids[at], values=tokens.values[at])


def _drawn(n: int, wanted: int, stream: np.random.RandomState | torch.Generator) -> NDArray[np.int64]:
    if isinstance(stream, torch.Generator):
        return torch.randperm(n, generator=stream)[:wanted].numpy()
    return stream.choice(n, wanted, replace=False)


def padded(tokens: Tokens, pad: int, pad_value: float) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Ids and values of cells as arrays as wide as the longest cell, [n, l]."""
    real = np.arange(tokens.lengths.max(initial=0)) < tokens.lengths[:, None]
    ids, values = np.full(real.shape, pad, np.int32), np.full(real.shape, pad_value, np.float32)
    ids[real], values[real] = tokens.ids, tokens.values
    return ids, values


def masked_shares(
    values: NDArray[np.float32], share: float, stream: np.random.RandomState, *, pad_value: float
) -> NDArray[np.float32]:
    """Hide that share of each cell's values [n, l], rounded down, that of <cls> too: for fine-tuning."""
    out = values.copy()
    for row, cell in zip(out, values, strict=True):
        real = np.flatnonzero(cell != pad_value)
        row[stream.choice(real, int(len(real) * share), replace=False)] = MASK_VALUE
    return out


def masked_by_chance(
    values: NDArray[np.float32], chance: float, stream: torch.Generator, *, pad_value: float, keep: int = 1
) -> NDArray[np.float32]:
    """Hide each value [n, l] with that chance, but for padding and the first ``keep``: the authors' collator."""
    chances = np.where(values == pad_value, 0, np.float32(chance))
    chances[:, :keep] = 0
    hidden = torch.bernoulli(torch.from_numpy(chances), generator=stream).bool().numpy()
    return np.where(hidden, np.float32(MASK_VALUE), values)
