"""References made of simulated embeddings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest


@dataclass(frozen=True)
class Cells:
    """Unit vectors of cells with their class and batch."""

    embedding: np.ndarray
    label: np.ndarray
    batch: np.ndarray


@pytest.fixture
def cells() -> Cells:
    """Four classes in three batches that shift all cells a little, one class in a single batch."""
    rng = np.random.default_rng(0)
    label = np.repeat(["B cell", "NK cell", "T cell", "rare"], [60, 40, 90, 5])
    code = np.unique(label, return_inverse=True)[1]
    batch = rng.integers(0, 3, len(label))
    batch[label == "rare"] = 1
    vectors = rng.normal(size=(4, 12))[code] + 0.3 * rng.normal(size=(3, 12))[batch]
    vectors += 0.4 * rng.normal(size=vectors.shape)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Cells(vectors.astype(np.float32), label, np.array(["x", "y", "z"])[batch])
