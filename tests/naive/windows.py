"""Windows of one cell after the other, from dense values."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from scfm_scverse.copy_number import Windows


def smooth(
    values: NDArray[np.floating],
    donor: NDArray[np.integer],
    mean: NDArray[np.floating],
    scale: NDArray[np.floating],
    windows: Windows,
) -> NDArray[np.floating]:
    out = np.full((len(values), len(windows)), np.nan)
    for cell, row in enumerate(values):
        if row.any():
            z = np.clip((row - mean[donor[cell]]) / scale[donor[cell]], -3, 3)
            means = [z[first:stop].mean() for first, stop in zip(windows.first, windows.stop, strict=True)]
            out[cell] = means - np.median(means)
    return out
