"""The folder of a saved model: what its family writes, and beside it what was registered, the history, a manifest."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._errors import CheckpointError, InputError
from .._record import _package_version
from ..io.atomic import replacing
from ..models import CellModel, Trainable, load

MANIFEST, REGISTRY, VAR_NAMES, HISTORY = "manifest.json", "registry.json", "var_names.txt", "history.csv"
ARRAYS = ("column_names", "categorical_mapping")  # of a registry


@dataclass(frozen=True)
class Saved:
    """What a folder holds.

    Attributes
    ----------
    model
        The model.
    registry
        What scvi-tools registered of the data it was set up with.
    labels
        Names of the classes that it tells apart; ``None`` where it tells none.
    history
        One row a step; ``None`` where it was not trained.
    """

    model: CellModel
    registry: dict[str, Any]
    labels: list[Any] | None
    history: pd.DataFrame | None


def write_folder(folder: Path, model: Trainable, saved: Saved, *, overwrite: bool) -> None:
    """Write a folder that appears whole or not at all.

    Raises
    ------
    InputError
        Something stands there, or with ``overwrite`` something that is no model saved before.
    FileError
        The folder cannot be written.
    """
    if folder.exists() and not (overwrite and is_saved(folder)):
        what = "which this class did not save: remove it first" if overwrite else "pass overwrite=True to replace it"
        msg = f"{folder} exists; expected a new folder, {what}."
        raise InputError(msg)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as new:
        model.write(new)
        registry = _plain(saved.registry)
        genes = registry["field_registries"]["X"]["state_registry"].pop("column_names")
        _write_json(new / REGISTRY, {"registry": registry, "labels": _plain(saved.labels)})
        (new / VAR_NAMES).write_text("\n".join(genes), encoding="utf-8")
        if saved.history is not None:
            saved.history.to_csv(new / HISTORY)
        files = sorted(path for path in new.rglob("*") if path.is_file())
        spec = model.spec
        about = {
            "written_by": f"scfm-scverse {_package_version()}",
            "model_id": spec.id,
            "options": dict(spec.options),
            "sha256": {path.relative_to(new).as_posix(): _sha256(path) for path in files},
        }
        _write_json(new / MANIFEST, about)


def read_folder(folder: Path) -> Saved:
    """Read a folder that :func:`write_folder` wrote; nothing in it is executed.

    Raises
    ------
    CheckpointError
        The folder is none of ours, or a file of it is missing, damaged or changed.
    """
    about = _manifest(folder)
    for name, expected in about["sha256"].items():
        path = folder / name
        if not path.is_file():
            msg = f"{folder} lacks {name}, which was saved with the model; expected the whole folder. Save it again."
            raise CheckpointError(msg)
        if _sha256(path) != expected:
            msg = f"{path} is not as it was saved (its SHA-256 is another); expected the folder as written. Save again."
            raise CheckpointError(msg)
    model = load(folder, **{name: _value(text) for name, text in about["options"].items()})
    if model.spec.id != about["model_id"]:
        msg = f"{folder} reads as {model.spec.id}; expected {about['model_id']}, saved by {about['written_by']}."
        raise CheckpointError(msg)
    told = json.loads((folder / REGISTRY).read_text(encoding="utf-8"))
    registry = told["registry"]
    names = (folder / VAR_NAMES).read_text(encoding="utf-8").split("\n")
    registry["field_registries"]["X"]["state_registry"]["column_names"] = names
    for field in registry["field_registries"].values():
        state = field["state_registry"]
        state |= {key: np.array(state[key]) for key in ARRAYS if key in state}
    history = pd.read_csv(folder / HISTORY, index_col=0) if HISTORY in about["sha256"] else None
    return Saved(model, registry, told["labels"], history)


def is_saved(path: Path) -> bool:
    """Whether this looks like a folder that :func:`write_folder` wrote."""
    return (path / MANIFEST).is_file() and (path / REGISTRY).is_file()


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        why = "expected a folder that FoundationModel.save wrote; from_pretrained reads models as their authors release"
        if (folder / "model.pt").is_file():
            why = (
                "but a model.pt, as scvi-tools and others save: a pickle, which can run any program as it is read and "
                "is not read here. Load it with the class that wrote it"
            )
        msg = f"{folder} holds no {MANIFEST}, {why}."
        raise CheckpointError(msg)
    about: dict[str, Any] = {}
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(about["model_id"], str) and {REGISTRY, VAR_NAMES} <= set(dict(about["sha256"]))
        reason = "" if whole and isinstance(about["options"], dict) else "an entry is of another kind"
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    if reason:
        msg = f"{path} cannot be read ({reason}); expected the file as it was saved. Save the model again."
        raise CheckpointError(msg)
    return about


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _value(text: str) -> Any:
    """Value of an option that a spec tells as text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False), encoding="utf-8")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
