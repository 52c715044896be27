"""What taking a token out of its cell does to what Geneformer says of it, to first order."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ...nn import Spans
from ...nn.presence import encode_present, gradients, mean_present
from ..base import Encoded, GeneRows
from .network import Network


def sensitivity(
    network: Network,
    ids: Tensor,
    spans: Spans,
    special: Tensor,
    scores: Callable[[Encoded], Tensor],
    *,
    n_layers: int,
    cls: bool,
) -> Tensor:
    """Change of scores as each token is taken out.

    A deletion takes the token away from attention and pooling, and moves every later token one place forward. Vectors
    of places need not be alike where they are neighbours, so that the second is no small step: its derivative is taken
    halfway between both places, where errors of second order cancel.

    Parameters
    ----------
    network
        The network, float32.
    ids, spans
        Tokens [t], and where each cell's stand.
    special
        bool [t]: which are special tokens.
    scores
        Makes numbers [k] of vectors of cells and genes.
    n_layers
        How many layers are run.
    cls
        Whether the vector of a cell is that of its first token, not the mean of its genes.

    Returns
    -------
    [k, t].
    """
    with torch.no_grad():
        here, moved = (network.embed(ids, spans, forward=places) for places in (0, 1))
    step = moved - here
    x = (here + step / 2).requires_grad_()
    absent = torch.zeros(len(ids), device=ids.device, requires_grad=True)
    hidden = encode_present(network.encoder, x, spans, absent, n_layers=n_layers)
    genes = GeneRows(spans.cells.to(ids.device)[~special], ids[~special], hidden[~special])
    if cls:
        cell = hidden[spans.starts.to(ids.device)]
    else:
        n_genes = torch.bincount(genes.cell, minlength=len(spans.lengths))
        cell = mean_present(genes.values, Spans(tuple(n_genes.tolist())), absent[~special])
    of_absence, of_x = gradients(scores(Encoded(cell=cell, gene=genes)), (absent, x))
    return of_absence + sum_of_later((of_x * step).sum(-1), spans)


def sum_of_later(numbers: Tensor, spans: Spans) -> Tensor:
    """Sum over the tokens behind each one in its cell, [k, t] -> [k, t]."""
    parts = numbers.split_with_sizes(list(spans.lengths), dim=-1)
    return torch.cat([part.flip(-1).cumsum(-1).flip(-1) - part for part in parts], dim=-1)
