"""A TOML file that describes a training: read and checked, its tables as arguments of Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from inspect import Parameter, signature
from pathlib import Path
from typing import Any

from .._errors import InputError
from ._toml import check_value, in_keys, near_key, read_toml

PRETRAIN = """\
output = "run"              # a folder, made if absent; paths start where this file is

[data]
input = ["one.h5ad", "two.zarr"]   # or a single file, which is read while training
layer = "counts"
validation = 0.05           # share of the cells to measure the loss on
holdout_key = "donor"       # whole donors of them

[model]
architecture = "scgpt"      # with new weights, and its sizes; or: checkpoint = "folder"
dim = 256
n_layers = 6

[train]
max_epochs = 2
precision = "bfloat16"
"""
FINETUNE = """\
output = "run"              # a folder, made if absent; paths start where this file is

[data]
input = "cells.h5ad"
labels_key = "cell_type"    # what to tell apart
holdout_key = "donor"       # whole donors are held out to measure the loss on

[model]
checkpoint = "scfm-mini"    # a name, or the path of a checkpoint

[train]
max_epochs = 5
lr = 0.001
"""
_DATA = {
    "input": "Iterable",
    "layer": "str",
    "use_raw": "bool",
    "gene_symbols": "str",
    "organism": "str",
    "holdout_key": "str",
    "validation": "float",
}
_OF_PRETRAIN = {"genes": "str", "total_key": "str"}
_OF_FINETUNE = {"labels_key": "str", "batch_key": "str", "unlabeled_category": "str"}
_TRAIN_OF_FINETUNE = {"class_weights": "str", "n_frozen_layers": "int"}


@dataclass(frozen=True)
class TrainingFile:
    """A training that a file describes.

    Attributes
    ----------
    input, output
        Files of cells, and the folder of the results.
    data, model, objective, train
        The tables; of what data and model name, ``input`` and paths are resolved.
    """

    input: tuple[Path, ...]
    output: Path
    data: Mapping[str, Any]
    model: Mapping[str, Any]
    objective: Mapping[str, Any]
    train: Mapping[str, Any]

    @property
    def keys(self) -> list[str]:
        """Names that messages may have as arguments of Python."""
        train = [field.name for field in fields(_settings())]
        return [*_DATA, *_OF_PRETRAIN, *_OF_FINETUNE, *_TRAIN_OF_FINETUNE, *train, *self.model, *self.objective]


def read_training(path: Path, command: str) -> TrainingFile:
    """Read the file of ``scfm pretrain`` or ``scfm finetune``; nothing but the file itself is looked at.

    Raises
    ------
    FileError
        It is missing or no TOML.
    InputError
        A key is missing, unknown, or has a value of another type or out of its range.
    """
    content = read_toml(path, command=command, such_as='input = "cells.h5ad"')
    pretrains = command == "pretrain"
    tables = ["data", "model", "train", *["objective"] * pretrains]
    _check(content, {"output": "str"} | dict.fromkeys(tables, "Mapping"), f"{path}")
    train = {field.name: str(field.type) for field in fields(_settings())}
    _check(content.get("train", {}), train | ({} if pretrains else _TRAIN_OF_FINETUNE), f"[train] of {path}")
    _check(content.get("data", {}), _DATA | (_OF_PRETRAIN if pretrains else _OF_FINETUNE), f"[data] of {path}")
    for table, key in (("", "output"), ("data", "input"), *([] if pretrains else [("data", "labels_key")])):
        if key not in (content.get(table, {}) if table else content):
            msg = f"Found no {key!r} in {f'[{table}] of ' if table else ''}{path}; expected it."
            raise InputError(msg)
    data, folder = content["data"], path.parent
    files = [data["input"]] if isinstance(data["input"], str) else data["input"]
    if not files or not all(isinstance(file, str) for file in files):
        msg = f"Found input = {data['input']!r} in [data] of {path}; expected the name of a file, or a list of names."
        raise InputError(msg)
    _check_settings(content.get("train", {}))
    return TrainingFile(
        input=tuple(folder / file for file in files),
        output=folder / content["output"],
        data={key: value for key, value in data.items() if key != "input"},
        model=_model(content.get("model", {}), path, creates=pretrains),
        objective=_objective(content.get("objective", {}), path),
        train=content.get("train", {}),
    )


def _settings() -> type:
    from ..training.settings import TrainSettings

    return TrainSettings


def _check(table: Mapping[str, Any], known: Mapping[str, str], where: str) -> None:
    for key, value in table.items():
        if key not in known:
            msg = f"Found the key {key!r} in {where}; {near_key(key, known)}"
            raise InputError(msg)
        check_value(key, value, known[key], where)


def _check_settings(train: Mapping[str, Any]) -> None:
    with in_keys(train):
        _settings()(**{key: value for key, value in train.items() if key not in _TRAIN_OF_FINETUNE})


def _model(table: dict[str, Any], path: Path, *, creates: bool) -> dict[str, Any]:
    """Check the names and types of sizes; a path starts at the file."""
    where = f"[model] of {path}"
    ways = ["architecture", "checkpoint"] if creates else ["checkpoint"]
    if sum(way in table for way in ways) != 1:
        msg = f"Found {', '.join(map(repr, table)) or 'nothing'} in {where}; expected {' or '.join(ways)}."
        raise InputError(msg)
    if "checkpoint" in table:
        _check(table, {"checkpoint": "str"}, where)
        beside = path.parent / table["checkpoint"]
        return {"checkpoint": str(beside) if beside.exists() else table["checkpoint"]}
    check_value("architecture", table["architecture"], "str", where)
    from ..models.layouts import maker_of

    _check(table, {"architecture": "str"} | _annotations(maker_of(table["architecture"])), where)
    return table


def _objective(table: dict[str, Any], path: Path) -> dict[str, Any]:
    """Check the name of an objective, and its options."""
    if not table:
        return {}
    from ..training import objectives

    known = [name for name in objectives.__all__ if name[0].isupper() and name not in {"Joint", "Objective", "Reading"}]
    where = f"[objective] of {path}"
    if table.get("name") not in known:
        msg = f"Found name = {table.get('name')!r} in {where}; {near_key(str(table.get('name')), known)}"
        raise InputError(msg)
    options = _annotations(getattr(objectives, table["name"]))
    _check(table, {"name": "str"} | options, where)
    return table


def _annotations(made: Any) -> dict[str, str]:
    """Types of the arguments that a file can give."""
    given = signature(made).parameters.values()
    named = {one.name: str(one.annotation) for one in given if one.kind is not Parameter.VAR_POSITIONAL}
    return {name: told for name, told in named.items() if name not in {"genes", "self"} and "NDArray" not in told}
