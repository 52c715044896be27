"""A small latent transformer, and cells of very different numbers of genes."""

from __future__ import annotations

import numpy as np
import pytest

from scfm_scverse import models
from scfm_scverse.models.scfm_latent.model import ScfmLatent
from scfm_scverse.tokens import Tokens
from support import GENES


@pytest.fixture
def model() -> ScfmLatent:
    return models.create("scfm-latent", GENES, seed=3, dim=32, n_layers=3, n_heads=4, n_latents=8)


@pytest.fixture
def tokens() -> Tokens:
    """Seven cells of 1 to all genes, the last of which was not measured."""
    rng = np.random.default_rng(0)
    lengths = [1, 2, 40, len(GENES) - 1, 17, 17, 5]
    ids = np.concatenate([rng.permutation(len(GENES) - 1)[:n] for n in lengths]).astype(np.int32)
    values = rng.uniform(0.1, 6, len(ids)).astype(np.float32)
    return Tokens(np.cumsum([0, *lengths]), ids, values, np.arange(len(GENES)) < len(GENES) - 1)


@pytest.fixture(autouse=True)
def always_one_thread(one_thread: None) -> None:
    """Every test here."""
