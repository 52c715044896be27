"""Optional libraries: imported where they are used, with the command that installs them."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional library or say how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        msg = f"{purpose} needs {module!r}, which is not installed. Install it with: pip install 'scfm-scverse[{extra}]'"
        raise ImportError(msg) from error
