"""The original's tiny checkpoints, the cells that it saw and what it returned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scfm_scverse.models import load
from scfm_scverse.models.geneformer.model import Geneformer
from scfm_scverse.nn import Spans
from scfm_scverse.tokens import Tokens

WHERE = {"device": torch.device("cpu"), "dtype": torch.float32}
CLOSE = {"rtol": 0, "atol": 2e-5}


@dataclass(frozen=True)
class Golden:
    """A folder of what the original returned."""

    folder: Path

    def arrays(self, name: str) -> dict[str, NDArray]:
        with np.load(self.folder / f"{name}.npz") as stored:
            return dict(stored)

    def load(self, name: str, **options: object) -> Geneformer:
        return load(self.folder / name, **options)

    def tokens(self, case: str) -> tuple[Tokens, list[str]]:
        """Tokens of a case of ``tokens.npz``, and the cells."""
        stored = self.arrays("tokens")
        ids = stored[f"{case}_input_ids"].astype(np.int32)
        indptr = stored[f"{case}_indptr"].astype(np.int64)
        tokens = Tokens(indptr, ids, np.ones(len(ids), np.float32), np.ones(64, bool))
        return tokens, stored[f"{case}_cell_id"].tolist()


@pytest.fixture
def golden(shared: Path) -> Golden:
    return Golden(shared / "golden" / "geneformer")


@dataclass(frozen=True)
class Padded:
    """A padded minibatch of the original, as rows without padding."""

    mask: NDArray[np.bool_]

    @property
    def spans(self) -> Spans:
        return Spans(tuple(self.mask.sum(axis=1).tolist()))

    def rows(self, array: NDArray) -> torch.Tensor:
        """Rows of an array [b, length, ...], padding left out, [t, ...]."""
        found = torch.from_numpy(array[self.mask])
        return found if found.is_floating_point() else found.long()


def near(found: torch.Tensor, expected: NDArray) -> None:
    """Equal to 1e-4 of the largest value."""
    largest = float(np.abs(expected).max())
    np.testing.assert_allclose(found.detach().numpy(), expected, rtol=0, atol=1e-4 * largest)
