"""Training by Lightning: the only files that know it, imported when a training starts."""

from .fit import fit

__all__ = ["fit"]
