"""h5ad files and zarr stores: read with clear errors, written so that the old file stays whole until the end."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .._errors import FileError, InputError, MissingKeyError
from .atomic import replacing, writable_h5

if TYPE_CHECKING:
    from anndata import AnnData

SUFFIXES = (".h5ad", ".zarr")


def file_kind(path: str | Path) -> Literal["h5ad", "zarr"]:
    """Tell from the suffix whether a path names an h5ad file or a zarr store."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        msg = f"Found the file name {str(path)!r}; expected one that ends in .h5ad or .zarr."
        raise FileError(msg)
    return "h5ad" if suffix == ".h5ad" else "zarr"


def read_adata(path: str | Path, *, backed: bool = False) -> AnnData:
    """Read an h5ad file or a zarr store.

    Parameters
    ----------
    path
        A file, or the folder of a zarr store.
    backed
        Leave X, layers and raw.X on disk; everything else is read.

    Raises
    ------
    FileError
        The file is missing, damaged or of another kind.
    """
    import anndata

    path = Path(path)
    kind = _kind_on_disk(path)
    try:
        store = _open(path, kind)
        _require_anndata(store, path)
        if backed and hasattr(store["obs"], "keys"):  # before anndata 0.7, obs was one table: read as a whole
            return _lazy_adata(store)
        if kind == "h5ad":
            store.close()
        return anndata.read_h5ad(path) if kind == "h5ad" else anndata.read_zarr(path)
    except FileError:
        raise
    except (OSError, LookupError, ValueError, RuntimeError, TypeError, AttributeError) as error:
        msg = f"Cannot read {path}: {_reason(error)}. Expected a whole {kind} of an AnnData: copy or write it again."
        raise FileError(msg) from error


def write_adata(adata: AnnData, path: str | Path) -> None:
    """Write an AnnData; whatever stood at ``path`` stays whole until the new one is complete.

    Raises
    ------
    FileError
        The disk is full, or the folder cannot be written to; what stood there is unchanged.
    """
    from anndata.io import write_elem

    path = Path(path)
    kind = file_kind(path)
    _require_replaceable(path, kind)
    if adata.is_view:
        adata = adata.to_memory()
    adata.strings_to_categoricals()  # as anndata's own writers do: text with gaps cannot be written
    with replacing(path) as temporary, _writable(temporary, kind, "w") as store:
        write_elem(store, "/", adata)
        if adata.raw is None and "raw" in store:
            del store["raw"]  # anndata's own h5ad writer leaves no empty one either


def write_results(
    source: str | Path, target: str | Path, adata: AnnData, elements: Sequence[str], *, gone: Sequence[str] = ()
) -> None:
    """Copy a file and write chosen elements of an AnnData into the copy; X is neither read nor written.

    Parameters
    ----------
    source
        The file from which ``adata`` was read.
    target
        The file to make; may be ``source`` itself. Both are h5ad or both are zarr.
    adata
        Holds the results; the same cells and genes as the source.
    elements
        What to write: ``"obs/scfm_cell_type"``, ``"obsm/X_scfm"``, ``"uns/scfm"``, ``"var"`` ...
    gone
        Columns of obs, such as ``"obs/scfm_group_share"``, that the copy shall not have even if the source does.

    Raises
    ------
    FileError
        Source or target cannot be used; what stood at the target is unchanged.
    MissingKeyError
        ``adata`` does not hold one of the elements.

    Examples
    --------
    >>> from scfm_scverse.io.files import read_adata, write_results
    >>> adata = read_adata("cells.h5ad", backed=True)  # doctest: +SKIP
    >>> adata.obs["depth"] = 1.0  # doctest: +SKIP
    >>> write_results("cells.h5ad", "annotated.h5ad", adata, ["obs/depth"])  # doctest: +SKIP
    """
    source, target = Path(source), Path(target)
    kind = _kind_on_disk(source)
    if file_kind(target) != kind:
        msg = f"Found target {target.name} for the {kind} source {source.name}; expected one kind: name it *.{kind}."
        raise FileError(msg)
    _require_replaceable(target, kind)
    values = {element: _element(adata, element) for element in elements}
    with replacing(target) as temporary:
        if kind == "zarr":
            shutil.copytree(source, temporary)
        else:
            shutil.copyfile(source, temporary)
        with _writable(temporary, kind, "r+") as store:
            _require_same_names(store, adata, source)
            for element, value in values.items():
                _write_element(store, element, value)
            for element in gone:
                _delete_column(store, element)


def _element(adata: AnnData, element: str) -> Any:
    slot, _, key = element.partition("/")
    held = getattr(adata, slot)
    if not key:
        return held
    if key not in held:
        msg = f"Found no adata.{slot}[{key!r}] to write; expected it to be made before."
        raise MissingKeyError(msg)
    return held[key]


def _write_element(store: Any, element: str, value: Any) -> None:
    from anndata.io import write_elem

    slot, _, key = element.partition("/")
    if slot in {"obs", "var"} and key:
        table = store[slot]
        write_elem(table, key, value.values)
        order = [str(name) for name in table.attrs["column-order"]]
        table.attrs["column-order"] = order if key in order else [*order, key]
    else:
        write_elem(store, element, value)


def _delete_column(store: Any, element: str) -> None:
    slot, _, key = element.partition("/")
    table = store[slot]
    if key in table:
        del table[key]
        table.attrs["column-order"] = [str(name) for name in table.attrs["column-order"] if str(name) != key]


def _require_same_names(store: Any, adata: AnnData, source: Path) -> None:
    from anndata.io import read_elem

    for slot, names in (("obs", adata.obs_names), ("var", adata.var_names)):
        table = store[slot]
        if not hasattr(table, "keys"):
            msg = f"Found {source} written by an anndata before 0.7; expected a newer file: read and write it whole."
            raise FileError(msg)
        there = read_elem(table[table.attrs["_index"]])
        if len(there) != len(names) or (there != names.to_numpy()).any():
            msg = (
                f"Found {len(names):,} names in adata.{slot} that are not the {len(there):,} of {source}; "
                "expected the same cells and genes: use write_adata for a changed AnnData."
            )
            raise InputError(msg)


def _kind_on_disk(path: Path) -> Literal["h5ad", "zarr"]:
    import h5py

    if not path.exists():
        near = get_close_matches(path.name, [p.name for p in path.parent.glob("*")], n=1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "check the path."
        msg = f"Found no file {path}; expected an h5ad file or a zarr store: {hint}"
        raise FileError(msg)
    if path.is_dir():
        if _is_store(path):
            return "zarr"
        msg = f"Found a folder at {path} that is no zarr store; expected an h5ad file or a zarr store."
        raise FileError(msg)
    if not os.access(path, os.R_OK):
        msg = f"Found {path}, which you may not read; expected a readable file: change its permissions."
        raise FileError(msg)
    if not h5py.is_hdf5(path):
        msg = f"Found {path}, which is no HDF5 file; expected an h5ad file: read it with scanpy and write it as h5ad."
        raise FileError(msg)
    return "h5ad"


def _is_store(path: Path) -> bool:
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def _require_replaceable(path: Path, kind: Literal["h5ad", "zarr"]) -> None:
    if not path.parent.is_dir():
        msg = f"Found no folder {path.parent}; expected one to write {path.name} into: make it first."
        raise FileError(msg)
    if path.exists() and (not path.is_file() if kind == "h5ad" else not _is_store(path)):
        msg = f"Found {path}, which is no {kind}; expected a free name or a {kind} to replace: choose another path."
        raise FileError(msg)


def _require_anndata(store: Any, path: Path) -> None:
    there = sorted(store)
    if not {"obs", "var"} <= set(there):
        msg = f"Found {', '.join(there[:5]) or 'nothing'} in {path}; expected obs and var, as AnnData writes them."
        raise FileError(msg)
    if not (_has(store, "X") or _has(store, "raw") or (_has(store, "layers") and len(store["layers"]))):
        msg = f"Found neither X nor layers nor raw in {path}; expected at least one matrix of cells x genes."
        raise FileError(msg)


def _has(store: Any, key: str) -> bool:
    return key in store and store[key].attrs.get("encoding-type") != "null"


def _open(path: Path, kind: Literal["h5ad", "zarr"]) -> Any:
    if kind == "h5ad":
        import h5py

        return h5py.File(path, "r")
    import zarr

    return zarr.open_group(str(path), mode="r")


@contextmanager
def _writable(path: Path, kind: Literal["h5ad", "zarr"], mode: Literal["w", "r+"]) -> Iterator[Any]:
    if kind == "h5ad":
        with writable_h5(path, mode) as file:
            yield file
        return
    import anndata
    import zarr

    options: dict[str, Any] = {}
    if not zarr.__version__.startswith("2."):
        # the index of all metadata does not follow what is written; it is made anew at the end
        options = {"use_consolidated": False} if mode == "r+" else {"zarr_format": anndata.settings.zarr_write_format}
    with warnings.catch_warnings():  # notices about formats, which nobody here can act on
        warnings.filterwarnings("ignore", message="zarr v3 autosharding|Consolidated metadata")
        group = zarr.open_group(str(path), mode=mode, **options)
        yield group
        zarr.consolidate_metadata(group.store)


def _lazy_adata(store: Any) -> AnnData:
    """Make an AnnData whose X, layers and raw.X are read when asked for."""
    from anndata import AnnData
    from anndata.io import read_elem, sparse_dataset

    def lazy(element: Any) -> Any:
        return element if hasattr(element, "dtype") else sparse_dataset(element)

    slots = ("obs", "var", "uns", "obsm", "varm", "obsp", "varp")
    parts = {slot: read_elem(store[slot]) for slot in slots if _has(store, slot)}
    if _has(store, "layers"):
        parts["layers"] = {key: lazy(store["layers"][key]) for key in store["layers"]}
    if _has(store, "raw"):
        parts["raw"] = {"X": lazy(store["raw"]["X"]), "var": read_elem(store["raw"]["var"])}
    return AnnData(X=lazy(store["X"]) if _has(store, "X") else None, **parts)


def _reason(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")
