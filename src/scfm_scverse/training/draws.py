"""Random numbers that belong to a cell and a gene, and not to the minibatch that they meet in."""

from __future__ import annotations

from enum import IntEnum, unique

import numpy as np
from numpy.typing import NDArray

_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@unique
class Purpose(IntEnum):
    """What numbers are drawn for: those of different purposes have nothing to do with each other.

    A number that has another value makes every training with it another one.
    """

    HIDDEN_EXPRESSION = 11
    SHARE_ASKED_FOR = 21
    ASKED_FOR = 22
    CHOSEN_RANK = 31
    OTHER_GENE = 32
    CHOSEN_LEVEL = 41
    HIDDEN_LEVEL = 42
    THINNED_CELL = 51
    SHARE_KEPT = 52
    COUNTS_KEPT = 53
    MASKED_GENE = 54
    HIDDEN_COUNT = 61
    HIDDEN_VALUE = 71
    ZERO_ASKED_FOR = 72


def uniform(*keys: int | NDArray[np.integer]) -> NDArray[np.float64]:
    """Draw a number from 0 (included) to 1 (not included) for each combination of keys.

    Parameters
    ----------
    keys
        Whole numbers or arrays of them, broadcast against one another. Equal keys give equal numbers.

    Returns
    -------
    Numbers that look independent and uniform, of the broadcast shape.
    """
    with np.errstate(over="ignore"):  # arithmetic modulo 2^64 is meant
        state = np.zeros((), np.uint64)
        for key in keys:
            state = _mixed(state + (np.asarray(key).astype(np.int64).astype(np.uint64) + np.uint64(1)) * _ODD)
        out: NDArray[np.float64] = (state >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return out


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Spread the bits of numbers over all 64: the last step of splitmix64, a bijection."""
    x = (x ^ (x >> np.uint64(30))) * _FIRST
    x = (x ^ (x >> np.uint64(27))) * _SECOND
    return x ^ (x >> np.uint64(31))
