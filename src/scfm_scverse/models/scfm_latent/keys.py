"""What is attended to: keys and values of cells that hold different numbers of rows.

Cells go one by one, without padding: that took a quarter of the time of padding to the longest cell, and a tenth of
that of a softmax by segments (one core, 32 cells of 300 to 2,700 genes). Rows are cut by ``split``, whose gradient is
one concatenation; that of a slice is as large as all cells together, for every cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention


@dataclass(frozen=True)
class Ragged:
    """Keys and values of cells whose rows stand one after the other.

    Attributes
    ----------
    key, value
        [t, h, e].
    lengths
        Rows of each cell, one at least, [b].
    """

    key: Tensor
    value: Tensor
    lengths: tuple[int, ...]

    def answer(self, query: Tensor) -> Tensor:
        """Attend from the same number of rows in every cell, [b, m, h, e] -> [b, m, h * e]."""
        lengths = list(self.lengths)
        parts = zip(torch.split(query, 1), *(torch.split(one, lengths) for one in (self.key, self.value)), strict=True)
        return torch.cat([_attend(one, key[None], value[None]) for one, key, value in parts])


@dataclass(frozen=True)
class Padded:
    """The same for cells that were padded to one length.

    Attributes
    ----------
    key, value
        [b, t, h, e].
    real
        bool [b, t]: which rows are no padding.
    """

    key: Tensor
    value: Tensor
    real: Tensor

    def answer(self, query: Tensor) -> Tensor:
        """Attend from rows of every cell, [b, m, h, e] -> [b, m, h * e]."""
        return _attend(query, self.key, self.value, self.real[:, None, None, :])


def answers(query: Tensor, key: Tensor, value: Tensor, lengths: tuple[int, ...]) -> Tensor:
    """Attend from different numbers of rows in each cell to the same number of keys.

    Parameters
    ----------
    query
        [k, h, e]: rows of all cells, one after the other.
    key, value
        [b, m, h, e].
    lengths
        Rows of ``query`` of each cell, [b].

    Returns
    -------
    [k, h * e].
    """
    if len(set(lengths)) == 1:
        return _attend(query.view(len(lengths), lengths[0], *query.shape[1:]), key, value).flatten(0, 1)
    parts = zip(torch.split(query, list(lengths)), torch.split(key, 1), torch.split(value, 1), strict=True)
    return torch.cat([_attend(one[None], *there)[0] for one, *there in parts])


def _attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """[b, q, h, e] and twice [b, k, h, e] -> [b, q, h * e]."""
    q, k, v = (one.transpose(1, 2) for one in (query, key, value))
    return scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
