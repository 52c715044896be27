"""What the authors' program draws from streams of random numbers, and what it makes of padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize, scaled_dot_product_attention

from ...nn import Encoder, EncoderLayer, Spans
from ...tokens import Tokens
from ...tokens.binning import bin_ranges
from ...tokens.bins import Bins, shares_of_edges
from .collate import shortened, with_first


class OriginalBins:
    """Tokens as the authors' program makes them for embeddings, one cell after the other.

    Every column is a token of its own. Bins of tied values come from numpy's stream, the genes of long cells from
    torch's, both begun with ``seed``.
    """

    def __init__(self, bins: Bins) -> None:
        self.bins = bins
        self.numpy_stream = np.random.RandomState(bins.seed)
        self.torch_stream = torch.Generator().manual_seed(bins.seed)

    def __call__(self, block: sp.csr_matrix) -> Tokens:
        """Tokenise a canonical CSR block of positive values, [n, g]."""
        bins = self.bins
        ids = bins.columns[block.indices]
        known = ids >= 0
        indptr = np.concatenate([[0], np.cumsum(known)])[block.indptr]
        values = block.data[known].astype(np.float32, copy=False)
        highest, ties = bin_ranges(indptr, values, shares_of_edges(bins.n_bins))
        drawn = self.numpy_stream.random_sample(len(values)) if bins.ties == "hash" else _SHARE[bins.ties]
        binned = bins_of_draws(highest, ties, drawn).astype(np.float32)
        tokens = with_first(
            Tokens(indptr, ids[known], binned, bins.measured), bins.first, bins.first_value, empty=False
        )
        return shortened(tokens, bins.max_length, self.torch_stream)


_SHARE = {"middle": 0.5, "high": 0.0}


def bins_of_draws(
    highest: NDArray[np.integer], ties: NDArray[np.integer], drawn: NDArray[np.float64] | float
) -> NDArray[np.int64]:
    """Bins of values with these highest bins that equal ``ties`` edges, for random numbers from 0 to 1."""
    # In the authors' order of operations: near 1 the sum is rounded, and a bin below the lowest one comes out.
    return np.ceil(drawn * -ties.astype(np.float64) + highest).astype(np.int64)


def pads_beside(encoder: Encoder, x: Tensor, pad: Tensor, spans: Spans, n_layers: int) -> tuple[Tensor, Tensor]:
    """Run cells and one row of padding each, which attends to the cell's tokens and is not attended to.

    All padding of a cell is alike, so one row stands for it. This is what torch's layers compute at padding, save for
    their fast path, which leaves zeros there.

    Parameters
    ----------
    encoder
        The transformer.
    x
        [t, d]: what goes into its first layer.
    pad
        [d]: the same for padding.
    spans
        Where each cell's tokens stand.
    n_layers
        How many layers to run.

    Returns
    -------
    Rows of the tokens [t, d], and of the padding of each cell [b, d].
    """
    pads = pad.expand(len(spans.lengths), -1)
    for layer in cast(Sequence[EncoderLayer], encoder.layers[:n_layers]):
        query = layer.project(pads)[0]
        _, keys, values = (torch.split(part, list(spans.lengths)) for part in layer.project(x))
        attended = [
            scaled_dot_product_attention(one[:, None], key.transpose(0, 1), value.transpose(0, 1)).flatten()
            for one, key, value in zip(query, keys, values, strict=True)
        ]
        pads = layer.finish(pads, layer.out_proj(torch.stack(attended)))
        x = layer(x, spans)
    return x, pads


def pool_padded(hidden: Tensor, pads: Tensor, spans: Spans, weights: Tensor | None, pad_value: float) -> Tensor:
    """Vector of each cell as the authors pool it, over <cls> and the padding to the longest cell too.

    Parameters
    ----------
    hidden, pads
        Rows of tokens [t, d] and of each cell's padding [b, d].
    spans
        Where each cell's tokens stand.
    weights
        Values of the tokens [t] to weight the rows with, of unit length then; ``None`` is the mean.
    pad_value
        Value of padding.
    """
    longest = max(spans.lengths)
    n_pads = torch.tensor([[longest - length] for length in spans.lengths], device=hidden.device)
    rows = hidden if weights is None else hidden * weights[:, None]
    total = torch.stack([cell.sum(0) for cell in torch.split(rows, list(spans.lengths))])
    if weights is None:
        return (total + n_pads * pads) / longest
    return normalize(total + pad_value * n_pads * pads, dim=1)
