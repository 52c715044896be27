"""Package-wide settings: how much is said, how much is read at a time. None of them changes a result."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any


@dataclass
class Settings:
    """Settings of this Python process.

    Attributes
    ----------
    verbosity
        0 errors, 1 warnings, 2 one line per verb (default), 3 details.
    progress
        Whether long work shows a progress bar (only when standard error is a terminal).
    block_size
        Rows read from a matrix at a time.
    n_jobs
        CPU threads; ``None`` uses what torch and numba find.
    """

    verbosity: int = 2
    progress: bool = True
    block_size: int = 4096
    n_jobs: int | None = None

    @contextmanager
    def override(self, **changes: Any) -> Iterator[Settings]:
        """Change settings inside a ``with`` block.

        Examples
        --------
        >>> import scfm_scverse as scfm
        >>> with scfm.settings.override(verbosity=0):
        ...     scfm.settings.verbosity
        0
        """
        known = {field.name for field in fields(self)}
        unknown = sorted(set(changes) - known)
        if unknown:
            msg = f"Unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(known))}."
            raise AttributeError(msg)
        before = {name: getattr(self, name) for name in changes}
        for name, value in changes.items():
            setattr(self, name, value)
        try:
            yield self
        finally:
            for name, value in before.items():
                setattr(self, name, value)


settings = Settings()
