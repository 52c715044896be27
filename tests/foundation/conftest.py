"""A small model on cells of two kinds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import FAST, tiny_foundation

if TYPE_CHECKING:
    from scfm_scverse import FoundationModel


@pytest.fixture(scope="package")
def trained() -> FoundationModel:
    """A small scGPT that was trained for a moment; nobody may change it."""
    model = tiny_foundation(batch_key="batch")
    model.train(2, holdout_key="batch", validation_size=0.5, **FAST)
    return model
