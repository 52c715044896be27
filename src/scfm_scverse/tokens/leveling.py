"""The loop of the logarithmic levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .kernels import _compiled


@_compiled("void(int64[::1], float32[::1], float64, float64)")
def to_levels(indptr: NDArray[np.int64], values: NDArray[np.float32], target: float, slack: float) -> None:
    """Replace each value by its level, 0 to 5, in place: ``log2(1 + value * target / sum of the row)``, cut.

    Five numbers for a row instead of a logarithm for each value: as fast as adding the values up, and whole numbers
    are compared exactly. A value reaches a level from ``slack``, a relative difference, below it.
    """
    for row in range(len(indptr) - 1):
        total = 0.0
        for k in range(indptr[row], indptr[row + 1]):
            total += float(values[k])
        # Multiplied first, then divided: only the division rounds, and not where it comes out whole.
        total *= 1 - slack
        one, two, three, four, five = (
            total / target,
            total * 3 / target,
            total * 7 / target,
            total * 15 / target,
            total * 31 / target,
        )
        for k in range(indptr[row], indptr[row + 1]):
            value = float(values[k])
            values[k] = (value >= one) + (value >= two) + (value >= three) + (value >= four) + (value >= five)
