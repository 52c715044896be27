"""One logger, one progress bar."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from ._settings import settings

T = TypeVar("T")

_logger = logging.getLogger("scfm")
_LEVELS = (logging.ERROR, logging.WARNING, logging.INFO, logging.DEBUG)


def say(message: str, *, level: int = logging.INFO) -> None:
    """Log one line, shown on standard error if ``settings.verbosity`` allows it.

    The handler is added on the first line said, so that importing the package configures nothing.
    """
    if not _logger.handlers and not logging.getLogger().handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("scfm: %(message)s"))
        _logger.addHandler(handler)
    _logger.setLevel(_LEVELS[min(max(settings.verbosity, 0), 3)])
    _logger.log(level, message)


def progress(items: Iterable[T], *, total: int, unit: str, label: str) -> Iterator[T]:
    """Yield ``items`` behind a progress bar when someone is watching a terminal."""
    if not (settings.progress and settings.verbosity >= 2 and sys.stderr.isatty()):
        yield from items
        return
    from tqdm.auto import tqdm

    yield from tqdm(items, total=total, unit=unit, desc=label, leave=False)
