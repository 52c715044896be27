"""Single-cell foundation models for people who work in scanpy.

The namespaces load on first use, so that ``import scfm_scverse as scfm`` costs nothing:
``scfm.pp`` checks and prepares, ``scfm.tl`` computes, ``scfm.pl`` draws, ``scfm.get`` pulls out tables,
``scfm.models`` loads models, ``scfm.training`` trains them, ``scfm.errors`` holds what can be raised;
``scfm.FoundationModel`` is a model in the manner of scvi-tools,
``scfm.Reference`` is what cells are compared with, ``scfm.report`` makes a page about annotated cells.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import _errors as errors
    from . import get, models, pl, pp, tl, training
    from ._settings import settings
    from .foundation.model import FoundationModel
    from .reference import Reference
    from .reporting import report

__all__ = [
    "FoundationModel",
    "Reference",
    "errors",
    "get",
    "models",
    "pl",
    "pp",
    "report",
    "settings",
    "tl",
    "training",
]


def __getattr__(name: str) -> Any:
    if name == "FoundationModel":
        return import_module(".foundation.model", __name__).FoundationModel
    if name == "Reference":
        return import_module(".reference", __name__).Reference
    if name == "report":
        return import_module(".reporting", __name__).report
    if name == "settings":
        return import_module("._settings", __name__).settings
    if name in __all__:
        return import_module("._errors" if name == "errors" else f".{name}", __name__)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted(__all__)
