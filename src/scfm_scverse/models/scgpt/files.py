"""The folder that the authors release: ``args.json``, ``vocab.json``, ``best_model.pt``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..._errors import CheckpointError
from ...checkpoints import read_json, read_weights

WEIGHTS, CONVERTED = "best_model.pt", "model.safetensors"
WRAPPERS = ("model_state_dict", "state_dict")  # where training programs put the tensors beside the optimizer's
PAD, CLS, EOC = "<pad>", "<cls>", "<eoc>"

# The three namings of the attention's tensors -> ours. Rows of queries, keys and values stand in the same order in all.
_NAMINGS = (
    ("wrapped flash-attention", re.compile(r"self_attn\._impl\.Wqkv\."), "in_proj."),
    ("wrapped flash-attention", re.compile(r"self_attn\._impl\.out_proj\."), "out_proj."),
    ("flash-attention", re.compile(r"self_attn\.Wqkv\."), "in_proj."),
    ("torch", re.compile(r"self_attn\.in_proj_"), "in_proj."),
    ("", re.compile(r"self_attn\.out_proj\."), "out_proj."),
)


@dataclass(frozen=True)
class Checkpoint:
    """What the three files hold.

    Attributes
    ----------
    weights
        The file of the tensors.
    args
        Command line of the authors' training; few of its entries say anything of the model.
    vocabulary
        Tokens in the order of their ids, those that the file lacks at the end, [v].
    appended
        Special tokens that ``vocab.json`` lacks.
    tensors
        Tensors under our names (see :func:`our_name`).
    names
        Our name of each tensor -> its name in the file.
    naming
        Which program's names the attention has.
    """

    weights: Path
    args: Mapping[str, Any]
    vocabulary: NDArray[np.str_]
    appended: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    names: Mapping[str, str]
    naming: str


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a folder, or one file of weights beside an ``args.json`` and a ``vocab.json``.

    Raises
    ------
    CheckpointError
        A file is absent or damaged, ids of tokens have gaps, or two tensors have one name.
    """
    converted = path / CONVERTED
    weights = path if path.is_file() else converted if converted.is_file() else path / WEIGHTS
    if not weights.is_file():
        msg = f"{path} holds no {WEIGHTS}; expected the weights beside args.json, or pass the path of the .pt file."
        raise CheckpointError(msg)
    for name in ("args.json", "vocab.json"):
        if not (weights.parent / name).is_file():
            msg = f"{weights.parent} holds no {name}; expected args.json and vocab.json of this model beside {weights}."
            raise CheckpointError(msg)
    vocabulary, appended = read_vocabulary(weights.parent / "vocab.json")
    found, prefix = _named_tensors(weights)
    names: dict[str, str] = {}
    for name in found:
        ours = our_name(name)
        if ours in names:
            msg = f"{weights} holds both {names[ours]!r} and {name!r}, which are one tensor; expected one of them."
            raise CheckpointError(msg)
        names[ours] = prefix + name
    naming = next((what for what, pattern, _ in _NAMINGS if any(map(pattern.search, found))), "unknown")
    tensors = {our_name(name): tensor for name, tensor in found.items()}
    args = read_json(weights.parent / "args.json")
    return Checkpoint(weights, args, vocabulary, appended, tensors, names, naming)


def _named_tensors(path: Path) -> tuple[dict[str, Tensor], str]:
    """Tensors of a file, and what stands before their names if they are inside the state of a training."""
    found = read_weights(path)
    if _is_state(found):
        return found, ""
    entries = found if isinstance(found, dict) else {}
    wrappers = [key for key in WRAPPERS if _is_state(entries.get(key))]
    if len(wrappers) != 1:
        no_tensors = [repr(key)[:80] for key, one in entries.items() if not isinstance(one, Tensor)]
        what = ", ".join(no_tensors[:8]) or f"a {type(found).__name__} without names of tensors"
        msg = (
            f"{path} holds {what}; expected a plain dictionary of tensors by name, the state of a scGPT model, or one "
            f"such dictionary under {' or '.join(map(repr, WRAPPERS))}."
        )
        raise CheckpointError(msg)
    return entries[wrappers[0]], f"{wrappers[0]}/"


def _is_state(found: Any) -> bool:
    return isinstance(found, dict) and all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in found.items()
    )


def our_name(name: str) -> str:
    """Return the name that our network gives to a tensor: the authors' own, but for the attention.

    Examples
    --------
    >>> our_name("module.transformer_encoder.layers.0.self_attn.Wqkv.weight")
    'transformer_encoder.layers.0.in_proj.weight'
    """
    name = name.removeprefix("module.")
    for _, pattern, ours in _NAMINGS:
        if pattern.search(name):
            return pattern.sub(ours, name)
    return name


def read_vocabulary(path: Path) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Return the tokens in the order of their ids, and the special ones that were appended because the file lacks them.

    Raises
    ------
    CheckpointError
        The ids are not the numbers from 0 to their count.
    """
    ids = read_json(path)
    tokens: list[str | None] = [None] * len(ids)
    for token, at in ids.items():
        if type(at) is not int or not 0 <= at < len(tokens) or tokens[at] is not None:
            msg = f"{path} gives {token!r} the id {at!r}; expected the {len(ids):,} ids from 0 on, each once."
            raise CheckpointError(msg)
        tokens[at] = token
    appended = tuple(token for token in (PAD, CLS, EOC) if token not in ids)
    return np.array([*tokens, *appended], dtype=np.str_), appended
