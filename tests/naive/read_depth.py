"""Tokens with read depth of a dense matrix, one cell and one column at a time."""

from __future__ import annotations

import math

import numpy as np


def naive_read_depth(
    values: np.ndarray, columns: np.ndarray, base: float, target: str, bulk: bool, target_sum: float
) -> list[tuple[dict[int, float], float, float, float]]:
    """For each cell its genes' values, total, T and S."""
    cells = []
    for row in values.astype(np.float64):
        genes: dict[int, float] = {}
        for value, gene in zip(row, columns.tolist(), strict=True):
            if gene >= 0 and value > 0:
                genes[gene] = genes.get(gene, 0.0) + value
        if base:
            genes = {gene: value * math.log(base) for gene, value in genes.items()}
        total = sum(genes.values())
        if not base:
            genes = {gene: math.log1p(value / total * target_sum) for gene, value in genes.items()}
        number = float(target[1:])
        s = -math.inf if total == 0 else math.log10(total)
        if target[0] == "f":
            t = -math.inf if total == 0 else math.log10(total * number)
        else:
            t = number if target[0] == "t" else s + number
        if bulk:
            amount = sum(genes.values())
            t = s = amount if base else -math.inf if amount == 0 else math.log10(amount)
        cells.append((dict(sorted(genes.items())), total, t, s))
    return cells
