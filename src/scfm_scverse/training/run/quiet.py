"""Lightning without its tips, notices and warnings that nobody here can act on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("lightning.pytorch", "lightning.fabric", "lightning")
_KNOWN = (
    ".*isinstance\\(treespec, LeafSpec\\)",
    ".*does not have many workers",
    ".*Checkpoint directory",
    ".*Found \\d+ module\\(s\\) in eval mode",
    ".*no `val_dataloader`",
    "The `srun` command is available",
    ".*weights_only",
    ".*find_unused_parameters=True was specified",
    ".*use of fork\\(\\) may lead to deadlocks",
    "GPU available but not used",
    "MPS available but not used",
)


@contextmanager
def quiet() -> Iterator[None]:
    """Say nothing on behalf of Lightning inside the block."""
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    with warnings.catch_warnings():
        for message in _KNOWN:
            warnings.filterwarnings("ignore", message=message)
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
