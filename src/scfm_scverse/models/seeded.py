"""First weights that depend on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw first weights from a seed, and leave the stream of torch as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
