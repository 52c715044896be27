"""Rank tokens of a dense matrix, one cell at a time."""

from __future__ import annotations

import numpy as np


def naive_ranks(
    values: np.ndarray,
    columns: np.ndarray,
    genes: np.ndarray,
    medians: np.ndarray,
    context: int,
    around: tuple[int, int] | None,
) -> list[list[int]]:
    """Tokens of each cell: genes by decreasing value / median, equal ones by slot, from values [n, g]."""
    out = []
    for row in values:
        total: dict[int, np.float32] = {}
        for value, slot in zip(row, columns.tolist(), strict=True):
            if slot >= 0 and value > 0:
                total[slot] = np.float32(total.get(slot, np.float32(0)) + value)
        order = sorted(total, key=lambda slot: (-(np.float64(total[slot]) / medians[slot]), slot))
        room = context - (0 if around is None else 2)
        tokens = [int(genes[slot]) for slot in order[:room]]
        out.append([around[0], *tokens, around[1]] if around and tokens else tokens)
    return out
