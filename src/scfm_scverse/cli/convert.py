"""``scfm convert``: a checkpoint in files that hold nothing but data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .._errors import CheckpointError
from ._files import require_folder
from ._options import LoadOptions, load_model

if TYPE_CHECKING:
    from ..models import CellModel

_PICKLES = (".pkl", ".pickle")
_TABLES = (".json", ".tsv", ".txt", ".csv")
_MOST_TABLE = 32 * 2**20


def convert(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or file of a checkpoint, or a pickle.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="PATH", help="Folder to make; of a pickle, the JSON file to make."),
    ],
    option: LoadOptions = None,
) -> None:
    """Write a checkpoint as safetensors and JSON, or a pickle of plain values as JSON.

    Nothing in the files is run. A checkpoint is loaded first, and the report of that is shown. The new folder is loaded
    as the old one was, by its path and with the same options.
    """
    if output.exists():
        msg = f"{output} exists already; choose a new name."
        raise typer.BadParameter(msg)
    require_folder(output)
    if path.suffix in _PICKLES or _is_bare_pickle(path):
        if option:
            msg = f"{path} is a pickle, no checkpoint; expected no --option for it."
            raise typer.BadParameter(msg)
        _write_json(path, output)
        print(output)
        return
    from ..io.atomic import replacing

    model = load_model(path, option)
    report = model.report()
    print(report)
    print(f"  licence: {model.spec.licence}")
    with replacing(output) as folder:
        folder.mkdir()
        left_out = _convert_files(path, model, folder)
    for name, why in left_out.items():
        print(f"  not written: {name} ({why})")
    print(f"{output}: {', '.join(sorted(file.name for file in output.iterdir()))}")


def _is_bare_pickle(path: Path) -> bool:
    """Whether this is a file without a suffix that begins as pickles since 2009 do, such as scBERT's label_dict."""
    from ..checkpoints.files import open_file

    if path.suffix or path.is_dir():
        return False
    with open_file(path) as stream:
        return stream.read(1) == b"\x80"


def _write_json(path: Path, output: Path) -> None:
    from ..checkpoints import read_pickle
    from ..checkpoints.tensors import as_json
    from ..io.atomic import replacing

    try:
        found = as_json(read_pickle(path))
    except TypeError as error:
        msg = f"{path} {error}; it stays a pickle, which is read as it is."
        raise CheckpointError(msg) from error
    with replacing(output) as temporary:
        temporary.write_text(json.dumps(found, ensure_ascii=False), encoding="utf-8")


def _convert_files(path: Path, model: CellModel, folder: Path) -> dict[str, str]:
    """Write the weights and the tables beside them into a folder; return what was left out -> why."""
    from ..checkpoints import read_pickle, read_weights
    from ..checkpoints.tensors import write_weights

    weights = Path(model.report().source)
    found: Any = read_weights(weights)
    left_out = write_weights(folder / "model.safetensors", found)
    for file in sorted(path.iterdir()) if path.is_dir() else _files_beside(path, model):
        if file == weights or not file.is_file() or not file.stat().st_size:
            continue
        if file.suffix in _PICKLES:
            _write_json(file, folder / f"{file.stem}.json")
        elif _is_bare_pickle(file):
            read_pickle(file)  # names of classes, which a model reads as they are; anything else stops here
            shutil.copyfile(file, folder / file.name)
        elif file.suffix in _TABLES and file.stat().st_size <= _MOST_TABLE:
            shutil.copyfile(file, folder / file.name)
        else:
            left_out[file.name] = "no part of the model, or of no safe kind"
    _write_dictionaries(model, path, folder)
    return left_out


def _files_beside(path: Path, model: CellModel) -> list[Path]:
    from ..models.panel import BESIDE

    # Model -> the files beside its weights that it reads. A folder may hold the files of several models.
    read = {
        "scGPT": ("args.json", "vocab.json"),
        "Geneformer": ("config.json",),
        "scFoundation": BESIDE,
        "scBERT": (*BESIDE, "label_dict"),
    }
    patterns = read[model.spec.name.partition("-")[0]]
    return sorted({file for pattern in patterns for file in path.parent.glob(pattern)})


def _write_dictionaries(model: CellModel, path: Path, folder: Path) -> None:
    """Write the dictionaries that a Geneformer found in files, unless they were converted with the others."""
    from ..models.geneformer.dictionaries import write_dictionaries
    from ..models.geneformer.model import Geneformer

    if not isinstance(model, Geneformer):
        return
    known = model.dictionaries
    source = Path(known.source)
    if not source.is_file() or source.parent == path:
        return
    write_dictionaries(known, folder)
