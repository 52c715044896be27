"""One logger, one progress bar."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ._settings import settings

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


@contextmanager
def progress_bar(total: int, *, unit: str, label: str) -> Iterator[Callable[[int], object]]:
    """Show how far long work is and how much time is left; what is yielded takes the number of items just done.

    A terminal gets a bar. Anywhere else a line is said now and then, once the work takes longer than half a minute.
    """
    if not settings.progress or settings.verbosity < 2:
        yield lambda _: None
        return
    if not sys.stderr.isatty():
        yield _Lines(total, unit, label)
        return
    from tqdm.auto import tqdm

    with tqdm(total=total, unit=unit, desc=label, leave=False) as bar:
        yield bar.update


class _Lines:
    """Progress as lines of a log."""

    EVERY = 30.0  # seconds

    def __init__(self, total: int, unit: str, label: str) -> None:
        self.total, self.unit, self.label = total, unit, label
        self.started = self.said = time.monotonic()
        self.done = 0

    def __call__(self, n: int) -> None:
        self.done += n
        now = time.monotonic()
        if now - self.said < self.EVERY or self.done == 0:
            return
        self.said = now
        left = (now - self.started) / self.done * (self.total - self.done)
        say(f"{self.label}: {self.done:,} of {self.total:,} {self.unit}s, about {_duration(left)} left")


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
