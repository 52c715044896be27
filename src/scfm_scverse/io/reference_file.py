"""A reference on disk: an h5ad of labelled cells, and in ``uns["scfm_reference"]`` all that names new cells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._errors import FileError
from .atomic import replacing, writable_h5
from .safetensors import hash_tensors

FORMAT = 1
ROOT = "scfm_reference"
_EMBEDDING = "embedding"


@dataclass(frozen=True)
class ReferenceFile:
    """What the file of a reference holds.

    ``values``: strings, numbers, arrays, and dicts of these; ``columns``: text about each labelled cell, [n] each;
    ``embedding`` [n, d]: their vectors. There may be no cells.
    """

    values: dict[str, Any]
    columns: dict[str, NDArray[np.str_]]
    embedding: NDArray[np.floating]


def write_reference_file(path: Path, content: ReferenceFile) -> None:
    """Write a file that anndata reads too; it appears whole or not at all.

    Raises
    ------
    FileError
        The name does not end in .h5ad, or the file cannot be written; what stood there is unchanged.
    """
    import pandas as pd
    from anndata import AnnData
    from anndata.io import write_elem

    if path.suffix.lower() != ".h5ad" or path.is_dir():
        msg = f"Found {path} as the name of a reference; expected a file that ends in .h5ad."
        raise FileError(msg)
    names = pd.Index([f"cell{i}" for i in range(len(content.embedding))], dtype=object)
    obs = pd.DataFrame({name: pd.Categorical(of.astype(object)) for name, of in content.columns.items()}, index=names)
    about = {"format": FORMAT, "hash": _hash(content), "reference": content.values}
    adata = AnnData(obs=obs, uns={ROOT: about})
    with replacing(path) as temporary, writable_h5(temporary, "w") as file:
        write_elem(file, "/", adata, dataset_kwargs={"compression": "gzip"})
        # Embeddings hardly shrink, and would take three times as long to read.
        write_elem(file["obsm"], _EMBEDDING, content.embedding)


def is_reference_file(path: Path) -> bool:
    """Whether a file was written as a reference, damaged or not; nothing but its table of contents is read."""
    import h5py

    if not (path.is_file() and h5py.is_hdf5(path)):
        return False
    try:
        with h5py.File(path, "r") as file:
            return f"uns/{ROOT}" in file
    except OSError:
        return False


def read_reference_file(path: Path) -> ReferenceFile:
    """Read what :func:`write_reference_file` wrote.

    Raises
    ------
    FileError
        There is no such file, it holds no reference, is damaged, of a newer format, or was changed afterwards.
    """
    if not path.is_file():
        msg = f"Found no file {path}; expected a reference that Reference.save wrote: check the path."
        raise FileError(msg)
    try:
        about, content = _read(path)
    except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        msg = f"Cannot read {path}: {reason}. Expected a whole reference: copy it or build it again."
        raise FileError(msg) from error
    if about is None:
        msg = (
            f"Found no reference in {path}; expected a file that Reference.save wrote. "
            "Labelled cells are passed with labels_key=, or made a reference by tl.build_reference."
        )
        raise FileError(msg)
    if about["format"] > FORMAT:
        msg = (
            f"Found a reference of format {about['format']} in {path}; this version of scfm-scverse reads {FORMAT}: "
            "update it."
        )
        raise FileError(msg)
    if about["hash"] != _hash(content):
        msg = f"Found {path} changed since it was saved; expected what Reference.save wrote: build it again."
        raise FileError(msg)
    return content


def _read(path: Path) -> tuple[dict[str, Any] | None, ReferenceFile]:
    """With h5py alone: anndata's own reader takes ten times as long on many small entries."""
    import h5py

    with h5py.File(path, "r") as file:
        if f"uns/{ROOT}" not in file:
            return None, ReferenceFile({}, {}, np.zeros((0, 0)))
        about = {name: _plain(file[f"uns/{ROOT}/{name}"]) for name in ("format", "hash")}
        if about["format"] > FORMAT:
            return about, ReferenceFile({}, {}, np.zeros((0, 0)))
        obs = file["obs"]
        columns = {name: _column(obs[name]) for name in obs.attrs["column-order"]}
        values = _plain(file[f"uns/{ROOT}/reference"])
        return about, ReferenceFile(values, columns, file[f"obsm/{_EMBEDDING}"][()])


def _plain(entry: Any) -> Any:
    """Dicts, strings, numbers and arrays."""
    import h5py

    if isinstance(entry, h5py.Group):
        return {name: _plain(part) for name, part in entry.items()}
    if not h5py.check_string_dtype(entry.dtype):
        value = entry[()]
        return value.item() if isinstance(value, np.generic) else value
    text = entry.asstr()[()]
    return text if isinstance(text, str) else text.astype(str)


def _column(entry: Any) -> NDArray[np.str_]:
    column = _plain(entry)
    text: NDArray[np.str_] = column["categories"][column["codes"]] if isinstance(column, dict) else column.astype(str)
    return text


def _hash(content: ReferenceFile) -> str:
    """Hash of all that the file says, however it is laid out."""
    flat = {_EMBEDDING: content.embedding}
    todo: list[tuple[str, Any]] = [("obs", content.columns), ("values", content.values)]
    while todo:
        name, value = todo.pop()
        if isinstance(value, dict):
            todo += [(f"{name}/{key}", part) for key, part in value.items()]
        elif np.asarray(value).dtype.kind in "UO":
            flat[name] = np.frombuffer(json.dumps(np.asarray(value).tolist()).encode(), np.uint8)
        else:
            flat[name] = np.asarray(value)
    return hash_tensors(flat)
