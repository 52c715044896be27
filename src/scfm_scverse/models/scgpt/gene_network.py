"""Gene networks as scGPT's authors draw them: genes of like vectors, and genes that attend to a regulator."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...nn import EncoderLayer, Spans
from .network import ScgptNetwork
from .options import Mode

_PRODUCT = 2**24  # similarities that are held at a time: 64 MB


def nearest_genes(vectors: NDArray[np.floating], gene: int, n: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Genes whose vectors [v, d] point most nearly where that of ``gene`` does: itself first, and their cosines."""
    unit = _unit(vectors)
    cosine = unit @ unit[gene]
    order = np.argsort(-cosine, kind="stable")[:n]
    return order, cosine[order]


def similar_pairs(vectors: NDArray[np.floating], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges of the network of genes whose vectors have a cosine of at least ``threshold``.

    Parameters
    ----------
    vectors
        [v, d]. Similarities are computed some rows at a time, never all v x v.
    threshold
        Between -1 and 1; scGPT's authors draw edges from 0.4 or 0.5 on.

    Returns
    -------
    Pairs of positions, the smaller first, in rising order, int64 [e, 2], and their cosines [e].
    """
    unit = _unit(vectors)
    step = max(1, _PRODUCT // len(unit))
    pairs, cosines = [], []
    for start in range(0, len(unit), step):
        cosine = unit[start : start + step] @ unit[start:].T
        one, other = np.nonzero(np.triu(cosine >= threshold, 1))
        pairs.append(np.stack([one, other], axis=1).astype(np.int64) + start)
        cosines.append(cosine[one, other])
    return np.concatenate(pairs), np.concatenate(cosines)


def _unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (vectors / np.maximum(length, 1e-12)).astype(np.float32)
    return unit


def influence(
    net: ScgptNetwork,
    ids: Tensor,
    values: Tensor,
    genes: Sequence[int],
    *,
    batches: Tensor | None = None,
    mode: Mode = "default",
) -> Tensor:
    """How strongly the genes of cells attend to some of them, in the last layer (see :func:`attention_ranks`).

    Parameters
    ----------
    net
        The network.
    ids
        Positions in the vocabulary of <cls> and of the genes [t], the same for all cells: genes that a cell does not
        express are tokens too.
    values
        Bins of the cells [b, t]; the authors give <cls> the value 0 here.
    genes
        Which of ``ids`` are the regulators [k].
    batches
        int64 [b]: batch of each cell, for a network that normalises by batch.
    mode
        How equal numbers are ranked.

    Returns
    -------
    float64 [b, t, k], from 0 to 1.
    """
    spans = Spans((len(ids),) * len(values))
    with torch.inference_mode():
        of_rows = None if batches is None else batches[spans.cells]
        x = net.embed(net.encoder(ids.repeat(len(values))), values.flatten(), of_rows)
        x = net.transformer_encoder(x, spans, n_layers=net.config.n_layers - 1)
        last = cast(EncoderLayer, net.transformer_encoder.layers[-1])
        return torch.stack([attention_ranks(last, rows, genes, mode=mode) for rows in x.split(len(ids))])


def attention_ranks(layer: EncoderLayer, x: Tensor, genes: Sequence[int], *, mode: Mode = "default") -> Tensor:
    """How strongly every gene of a cell attends to some of them, as scGPT's authors make it comparable over cells.

    Scores (query times key, neither scaled nor put through a softmax) are ranked among the keys of each query, these
    ranks among the queries of each key, and the result is averaged over the heads, which are taken one after the
    other: no more than one t x t matrix is held.

    Parameters
    ----------
    layer
        The layer whose attention is read.
    x
        What goes into the layer: the rows of one cell [t, d].
    genes
        Rows of the genes whose influence is wanted [k].
    mode
        Equal numbers share the mean of their ranks. ``"original"`` ranks them as torch's unstable sort leaves them,
        which depends on the order of the genes and on the processor.

    Returns
    -------
    [t, k]: rank of each row as a query, as a share of t (0 is the lowest). Only the order within a column carries
    meaning, and its difference between cells.
    """
    query, key, _ = layer.project(x)
    total = torch.zeros(len(x), len(genes), dtype=torch.float64, device=x.device)
    precise = torch.promote_types(x.dtype, torch.float32)  # in half precision many scores would be equal
    for head in range(layer.n_heads):
        scores = query[:, head].to(precise) @ key[:, head].to(precise).T
        total += rank_scores(scores, genes, mode=mode)
    return total / (layer.n_heads * len(x))


def rank_scores(scores: Tensor, genes: Sequence[int], *, mode: Mode = "default") -> Tensor:
    """Rank scores [t, t] within their rows, then within some columns [k]: float64 [t, k], from 0 to t - 1."""
    columns = torch.as_tensor(genes, device=scores.device)
    if mode == "original":
        return _places(_places(scores)[:, columns].T).T.double()
    in_rows = _mean_ranks(scores, scores[:, columns]).T
    return _mean_ranks(in_rows, in_rows).T


def _places(rows: Tensor) -> Tensor:
    """Place of each number in its row after torch's unstable sort."""
    return rows.contiguous().argsort(dim=1).argsort(dim=1)


def _mean_ranks(rows: Tensor, asked: Tensor) -> Tensor:
    """Rank in each row [r, t] of some of its numbers [r, k]; equal numbers share the mean of their ranks."""
    ordered, asked = rows.contiguous().sort(dim=1).values, asked.contiguous()
    below = torch.searchsorted(ordered, asked)
    up_to = torch.searchsorted(ordered, asked, right=True)
    return (below + up_to - 1).double() / 2


def mean_by_condition(
    ranks: Iterable[Tensor], condition: Sequence[str], *, mode: Mode = "default"
) -> dict[str, Tensor]:
    """Mean over the cells of each condition of what :func:`attention_ranks` gives, one cell held at a time.

    Parameters
    ----------
    ranks
        One tensor a cell, all of one shape.
    condition
        Condition of each cell.
    mode
        ``"original"`` loses the first cell of each condition and still divides by all of them.

    Returns
    -------
    Condition -> mean. What sets two conditions apart is their difference; of a regulator's column, its largest
    entries are the genes that it influences more.
    """
    sums: dict[str, Tensor] = {}
    cells: dict[str, int] = {}
    for one, rank in zip(condition, ranks, strict=True):
        lost = mode == "original" and one not in sums
        sums[one] = sums.get(one, 0) + (torch.zeros_like(rank) if lost else rank)
        cells[one] = cells.get(one, 0) + 1
    return {one: total / cells[one] for one, total in sums.items()}
