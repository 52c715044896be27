"""Checkpoints as their authors release them: each family of models tells its own by the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._errors import CheckpointError, InputError
from ..checkpoints.files import check_links
from .base import CellModel

if TYPE_CHECKING:
    from .trainable import Trainable

# Each has ``recognises(path) -> bool`` and ``load(path, *, ...) -> CellModel``.
FAMILIES = ("scgpt", "geneformer", "scfoundation", "scbert", "scfm-latent", "scfm-mini")


def load_checkpoint(path: Path, options: dict[str, Any]) -> CellModel:
    """Load a released checkpoint, whichever family it is of."""
    if path.is_dir():
        check_links(path)
    for family in FAMILIES:
        module = import_module(_folder(family), __package__)
        if module.recognises(path):
            _check_options(module.load, family, options)
            model: CellModel = module.load(path, **options)
            return model
    there = ", ".join(sorted(one.name for one in path.iterdir())[:8]) if path.is_dir() else "a file"
    msg = (
        f"{path} ({there}) is no checkpoint of a known layout; expected a scGPT folder (args.json, vocab.json, "
        "best_model.pt), a Geneformer folder (config.json, model.safetensors or pytorch_model.bin), scFoundation's "
        "models.ckpt, scBERT's panglao_pretrain.pth or a folder that this package wrote."
    )
    raise CheckpointError(msg)


def create_model(architecture: str, genes: Sequence[str], sizes: dict[str, Any]) -> Trainable:
    """Make a model of a family with new weights."""
    create = maker_of(architecture)
    _check_options(create, architecture, sizes)
    genes = [str(name) for name in genes]
    _check_genes(genes)
    usual = {name: one.default for name, one in signature(create).parameters.items() if type(one.default) is int}
    _check_sizes(usual, sizes)
    return create(genes, **sizes)


def _check_genes(genes: list[str]) -> None:
    """See that there are genes, and each once: a vocabulary cannot tell others apart."""
    kinds = {
        "twice": [name for name, n in Counter(genes).items() if n > 1],
        "empty or in the brackets of special tokens": [
            name for name in genes if not name.strip() or (name[0], name[-1]) == ("<", ">")
        ],
    }
    for what, wrong in kinds.items():
        if wrong:
            named = ", ".join(map(repr, wrong[:5])) + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
            msg = f"Found genes= with names that are {what}: {named}; expected the name of each gene once."
            raise InputError(msg)
    if not genes:
        msg = "Found genes= without a name; expected the names of the vocabulary."
        raise InputError(msg)


def _check_sizes(usual: dict[str, int], sizes: dict[str, Any]) -> None:
    """See that sizes are whole numbers, and that heads divide the width that they share."""
    for name in usual.keys() & sizes.keys() - {"seed"}:
        if not isinstance(sizes[name], int | np.integer) or sizes[name] < 1:
            msg = f"Found {name}={sizes[name]!r}; expected a whole number above 0."
            raise InputError(msg)
    found = usual | sizes
    if "dim_head" not in found and found["dim"] % found.get("n_heads", 1):
        msg = f"Found dim={found['dim']} and n_heads={found['n_heads']}; expected heads that divide the width."
        raise InputError(msg)


def maker_of(architecture: str) -> Callable[..., Trainable]:
    """Return the function that makes a model of a family with new weights; its keywords are the sizes."""
    if architecture not in FAMILIES:
        msg = f"Found the architecture {architecture!r}; expected one of {', '.join(map(repr, FAMILIES))}."
        raise InputError(msg)
    create: Callable[..., Trainable] = import_module(f"{_folder(architecture)}.training", __package__).create
    return create


def _folder(family: str) -> str:
    return "." + family.replace("-", "_")


def _check_options(loader: Any, family: str, options: dict[str, Any]) -> None:
    known = [name for name, one in signature(loader).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]
    unknown = sorted(set(options) - set(known))
    if unknown:
        msg = f"Found the option {unknown[0]!r}; those of {family} are {', '.join(known)}."
        raise InputError(msg)
