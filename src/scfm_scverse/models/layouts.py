"""Checkpoints as their authors release them: each family of models tells its own by the files."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._errors import CheckpointError, InputError
from ..checkpoints.files import check_links
from .base import CellModel

if TYPE_CHECKING:
    from .trainable import Trainable

# Each has ``recognises(path) -> bool`` and ``load(path, *, ...) -> CellModel``.
FAMILIES = ("scgpt", "geneformer", "scfoundation", "scbert")


def load_checkpoint(path: Path, options: dict[str, Any]) -> CellModel:
    """Load a released checkpoint, whichever family it is of."""
    if path.is_dir():
        check_links(path)
    for family in FAMILIES:
        module = import_module(f".{family}", __package__)
        if module.recognises(path):
            _check_options(module.load, family, options)
            model: CellModel = module.load(path, **options)
            return model
    there = ", ".join(sorted(one.name for one in path.iterdir())[:8]) if path.is_dir() else "a file"
    msg = (
        f"{path} ({there}) is no checkpoint of a known layout; expected a scGPT folder (args.json, vocab.json, "
        "best_model.pt), a Geneformer folder (config.json, model.safetensors or pytorch_model.bin), scFoundation's "
        "models.ckpt or scBERT's panglao_pretrain.pth."
    )
    raise CheckpointError(msg)


def create_model(architecture: str, genes: Sequence[str], sizes: dict[str, Any]) -> Trainable:
    """Make a model of a family with new weights."""
    if architecture not in FAMILIES:
        msg = f"Found the architecture {architecture!r}; expected one of {', '.join(map(repr, FAMILIES))}."
        raise InputError(msg)
    module = import_module(f".{architecture}.training", __package__)
    _check_options(module.create, architecture, sizes)
    model: Trainable = module.create(genes, **sizes)
    return model


def _check_options(loader: Any, family: str, options: dict[str, Any]) -> None:
    known = [name for name, one in signature(loader).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        msg = f"Found the option {unknown[0]!r}; those of {family} are {', '.join(known)}."
        raise InputError(msg)
