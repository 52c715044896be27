"""What made a result: written beside it into ``adata.uns["scfm"]``, in a form that survives h5ad and zarr."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ._errors import InputError, MissingKeyError, ModelMismatchError

if TYPE_CHECKING:
    from anndata import AnnData

ROOT = "scfm"


def record(adata: AnnData, verb: str, key: str, params: Mapping[str, Any]) -> None:
    """Write how a result was made to ``adata.uns["scfm"][verb][key]``, beside what other verbs and keys left there.

    Parameters
    ----------
    adata
        Receives the record; no view.
    verb
        Name of the function, such as ``"embed"``.
    key
        The ``key_added`` of the result.
    params
        Arguments and facts, nested at will. By convention ``"model_id"`` says which model and weights. The version of
        this package is added.
    """
    root = adata.uns.setdefault(ROOT, {})
    if not isinstance(root, dict):
        msg = f"Found {type(root).__name__} in adata.uns[{ROOT!r}]; expected a dict of ours. Rename that entry first."
        raise InputError(msg)
    entry = {"package_version": _package_version(), **params}
    root.setdefault(_name(verb), {})[_name(key)] = _safe(entry)


def read_record(adata: AnnData, verb: str, key: str) -> dict[str, Any] | None:
    """Return the record of a result, the same before and after a way through a file, or None where there is none."""
    found: Any = adata.uns
    for name in (ROOT, _name(verb), _name(key)):
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return _plain(found) if isinstance(found, Mapping) else None


def keys_written(adata: AnnData, verb: str) -> str:
    """Name the keys under which a verb has written, for messages; "none" if there is none."""
    return ", ".join(map(repr, adata.uns.get(ROOT, {}).get(verb, {}))) or "none"


def check_column(adata: AnnData, argument: str, key: str | None, *, where: str = "adata.obs") -> None:
    """Stop where a column of ``adata.obs`` that ``argument`` names is not there; ``None`` names none.

    Raises
    ------
    MissingKeyError
        It is not.
    """
    if key is not None and key not in adata.obs:
        there = ", ".join(map(repr, adata.obs.columns)) or "none"
        msg = f"{argument}={key!r} is not in {where}; its columns are {there}."
        raise MissingKeyError(msg)


def check_free(
    adata: AnnData,
    attr: Literal["obs", "var", "obsm", "varm", "obsp", "layers", "uns"],
    keys: Sequence[str],
    *,
    verb: str,
    record_key: str,
    model_id: str | None = None,
) -> None:
    """Stop before somebody else's result is overwritten.

    Keys that are absent, or were written by the same verb under the same ``record_key`` and with the same model, are
    free.

    Raises
    ------
    InputError
        A key holds what this verb did not write.
    ModelMismatchError
        A key holds what this verb wrote with another model.
    """
    taken = [key for key in keys if key in getattr(adata, attr)]
    if not taken:
        return
    slot = f'adata.{attr}["{taken[0]}"]'
    written = read_record(adata, verb, record_key)
    if written is None:
        msg = f"Found {slot}, which {verb} did not write; expected a free key. Pass key_added= or delete it first."
        raise InputError(msg)
    if model_id is not None and written.get("model_id") != model_id:
        msg = (
            f"Found {slot} written with model {written.get('model_id')}; expected {model_id}. "
            "Pass key_added= to keep both, or delete it first."
        )
        raise ModelMismatchError(msg)


def _package_version() -> str:
    try:
        return version("scfm-scverse")
    except PackageNotFoundError:  # run from the source tree
        return "unknown"


def _name(key: object) -> str:
    return str(key).replace("/", "_")


def _safe(value: Any) -> Any:
    """Strings, numbers, flags, None, arrays, lists of one kind and dicts of these: what both formats bear."""
    if isinstance(value, Mapping):
        return {_name(key): _safe(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.ndim > 1 and value.dtype.kind in "biuf":
        return value.copy()
    if hasattr(value, "tolist"):  # numpy, pandas, torch
        return _safe(value.tolist())
    if isinstance(value, AbstractSet):
        return _list(sorted(value, key=str))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return _list(value)
    return _scalar(value)


def _scalar(value: Any) -> str | bool | int | float | None:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    return str(value)


def _list(values: Sequence[Any]) -> list[Any]:
    items = [_scalar(item.item() if isinstance(item, np.generic) else item) for item in values]
    numbers = all(isinstance(item, int | float) and not isinstance(item, bool) for item in items)
    same = len({type(item) for item in items}) <= 1 and None not in items
    return items if same or numbers else [str(item) for item in items]


def _plain(value: Any) -> Any:
    """Undo what reading from disk does: arrays back to lists, numpy scalars to Python's."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value
