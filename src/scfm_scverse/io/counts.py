"""Find the matrix of an AnnData that a model can read, and say on which scale its values are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp

from .._errors import CountsError, InputError, MissingKeyError
from .._logging import say
from ._storage import Subset, is_dask, row_length
from .blocks import place, spread_rows, take_rows

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from .blocks import Names

_SAMPLE = 200_000  # stored values looked at
_SPREAD = 2.0e-2  # coefficient of variation below which the totals of cells count as equal
_CELLS = 3  # cells without which totals cannot be compared
_LOG_MAX = 30.0  # no logarithm of a count exceeds this
_LOG_MAX_E = 14.0  # exp(14) is more than the million of CPM: beyond it, the base is rather 2
_BASES = (math.e, 2.0, 10.0)
_WORDS = {"counts": "counts", "linear": "linear values (not whole counts)", "log": "log-normalised values"}


@dataclass(frozen=True)
class Values:
    """The matrix that a verb reads.

    Attributes
    ----------
    matrix
        Cells x genes, as it is stored; read it with :func:`~scfm_scverse.io.blocks.iter_blocks`.
    source
        Where it lies: ``'X'``, ``'layers["counts"]'``, ``'raw.X'``.
    kind
        ``"counts"`` (whole), ``"linear"`` (TPM, expected counts and other values of 0 or more) or ``"log"``
        (logarithm of 1 + normalised values).
    base
        Base of the logarithm: e, 2 or 10; 0 where there is none.
    var
        The genes of that matrix.
    """

    matrix: Any
    source: str
    kind: Literal["counts", "linear", "log"]
    base: float
    var: pd.DataFrame


@dataclass(frozen=True)
class _Seen:
    """What a sample of one matrix shows."""

    source: str
    matrix: Any
    sample: sp.csr_matrix
    rows: np.ndarray

    @property
    def low(self) -> float:
        return float(min(np.nanmin(self.sample.data, initial=0.0), 0.0))

    @property
    def high(self) -> float:
        return float(np.nanmax(self.sample.data, initial=0.0))

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.sample.data).all())

    @property
    def whole(self) -> bool:
        data = self.sample.data
        return self.finite and self.low >= 0 and bool((data == np.rint(data)).all())

    @property
    def holds_counts(self) -> bool:
        return self.whole and self.sample.nnz > 0

    def __str__(self) -> str:
        scale = "whole numbers" if self.whole else "negative values" if self.low < 0 else "not whole"
        bad = "" if self.finite else ", NaN or infinite values"
        shape = " x ".join(str(int(size)) for size in self.matrix.shape)
        return f"{self.source}: {shape}, {self.matrix.dtype}, {self.low:.4g} to {self.high:.4g}, {scale}{bad}"


def find_values(
    adata: AnnData, *, layer: str | None = None, use_raw: bool = False, normalized: bool | None = None
) -> Values:
    """Find the values that a model reads.

    Without arguments the first of ``X``, ``layers["counts"]`` and ``raw.X`` that holds whole counts is taken; where
    none does, the first of them without negative values. Whole numbers are told by a sample of cells from all over
    the matrix. Nothing is copied or changed.

    Parameters
    ----------
    adata
        Cells x genes.
    layer
        Read this layer and nothing else.
    use_raw
        Read ``adata.raw.X`` and nothing else.
    normalized
        ``True``: the values are logarithms of normalised counts; ``False``: they are linear; ``None``: decide.

    Returns
    -------
    The matrix, its source, its kind and its genes.

    Raises
    ------
    CountsError
        No matrix can be read; the message lists what each of them holds.
    MissingKeyError
        The layer or ``raw`` is absent.
    """
    if layer is not None and use_raw:
        msg = f"Found both layer={layer!r} and use_raw=True; expected one of them at most."
        raise InputError(msg)
    chosen = _choose(adata, _candidates(adata, layer, use_raw=use_raw, normalized=normalized), normalized=normalized)
    kind = _kind(chosen, normalized=normalized)
    base = _log_base(chosen.sample) if kind == "log" else 0.0
    var = _genes(adata, chosen.source)
    say(f"reading {_WORDS[kind]} of {chosen.source} ({len(var):,} genes)")
    return Values(chosen.matrix, chosen.source, kind, base, var)


def _candidates(adata: AnnData, layer: str | None, *, use_raw: bool, normalized: bool | None) -> list[_Seen]:
    """Look at one matrix after the other until one holds what is wanted."""
    if layer is not None or use_raw:
        return [_named(adata, layer)]
    candidates = []
    for source in ["X", "raw.X"] if normalized else ["X", _layer("counts"), "raw.X"]:
        seen = _look(adata, source)
        if seen is not None:
            candidates.append(seen)
            if normalized or seen.holds_counts:
                break
    return candidates


def _choose(adata: AnnData, candidates: list[_Seen], *, normalized: bool | None) -> _Seen:
    """Pick the matrix that holds counts, or else the first that is not negative."""
    if candidates and candidates[-1].holds_counts and not normalized:
        return candidates[-1]
    for seen in candidates:
        if seen.low >= 0:
            _require_finite(seen, adata.obs_names, _genes(adata, seen.source).index)
            return seen
    sources = ["X", *(_layer(key) for key in adata.layers if key is not None), "raw.X"]
    everything = [found for source in sources if (found := _look(adata, source)) is not None]
    listing = "".join(f"\n  {seen}" for seen in everything) or "\n  no matrix at all"
    which = " and ".join(seen.source for seen in candidates) or "X, layers and raw"
    msg = f"Found no counts and no log-normalised values in {which}; {_advice(everything)} The AnnData holds:{listing}"
    raise CountsError(msg)


def _advice(everything: list[_Seen]) -> str:
    usable = [seen for seen in everything if seen.low >= 0 and seen.finite]
    best = next((seen for seen in usable if seen.whole), usable[0] if usable else None)
    if best is None:
        return 'expected values of 0 or more. Put the counts into adata.layers["counts"].'
    if best.source == "X":
        return "expected values of 0 or more. Leave layer=, use_raw= and normalized= out to read X."
    argument = "use_raw=True" if best.source == "raw.X" else f"layer={best.source[8:-2]!r}"
    return f"expected values of 0 or more. Pass {argument} to read {best.source}."


def _kind(seen: _Seen, *, normalized: bool | None) -> Literal["counts", "linear", "log"]:
    if normalized and seen.high > _LOG_MAX:
        msg = (
            f"Found values up to {seen.high:.6g} in {seen.source}; expected logarithms, at most {_LOG_MAX:.0f}, "
            "because of normalized=True. Leave normalized= out."
        )
        raise CountsError(msg)
    if normalized is not True and seen.whole:
        return "counts"
    return "log" if normalized or (normalized is None and seen.high <= _LOG_MAX) else "linear"


def _require_finite(seen: _Seen, names: Names, genes: Names) -> None:
    if seen.finite:
        return
    at = int(np.flatnonzero(~np.isfinite(seen.sample.data))[0])
    row = int(seen.rows[np.searchsorted(seen.sample.indptr, at, side="right") - 1])
    where = place(row, names, int(seen.sample.indices[at]), genes)
    msg = f"Found {seen.sample.data[at]} in {seen.source}, {where}; expected finite values: remove such cells first."
    raise CountsError(msg)


def _genes(adata: AnnData, source: str) -> pd.DataFrame:
    var: Any = adata.raw.var if source == "raw.X" else adata.var
    frame: pd.DataFrame = var.to_memory() if hasattr(var, "to_memory") else var  # read_lazy leaves it on disk
    return frame


def _layer(key: str) -> str:
    return f'layers["{key}"]'


def _named(adata: AnnData, layer: str | None) -> _Seen:
    seen = _look(adata, "raw.X" if layer is None else _layer(layer))
    if seen is not None:
        return seen
    there = ", ".join(repr(key) for key in adata.layers if key is not None) or "none"
    if layer is None:
        msg = "Found no adata.raw; expected one because of use_raw=True. Leave use_raw out to read X or layers."
    else:
        msg = f"Found no layer {layer!r}; the layers are: {there}. Pass one of them as layer=."
    raise MissingKeyError(msg)


def _look(adata: AnnData, source: str) -> _Seen | None:
    matrix = _matrix(adata, source)
    if matrix is None:
        return None
    rows = spread_rows(matrix, int(np.clip(_SAMPLE // max(1, row_length(matrix)), 16, 2000)))
    return _Seen(source, matrix, take_rows(matrix, rows), rows)


def _matrix(adata: AnnData, source: str) -> Any:
    """The stored matrix; of a view, the parent's with the rows and columns that the view shows."""
    if source == "raw.X":
        return None if adata.raw is None else adata.raw.X

    def stored(data: AnnData) -> Any:
        return data.X if source == "X" else data.layers.get(source[8:-2])

    view: Any = adata
    parent: Any = getattr(view, "_adata_ref", None)
    if parent is None:
        return stored(adata)
    matrix = stored(parent)
    if matrix is None or is_dask(matrix):  # dask is lazy by itself
        return stored(adata)
    return Subset(matrix, np.arange(parent.n_obs)[view._oidx], np.arange(parent.n_vars)[view._vidx])


def _log_base(sample: sp.csr_matrix) -> float:
    """Base whose powers add up to the same total in every cell."""
    spreads = {}
    for base in _BASES:
        powers = sample.astype(np.float64)
        powers.data = base**powers.data - 1
        totals = np.asarray(powers.sum(axis=1)).ravel()
        totals = totals[totals > 0]
        if len(totals) >= _CELLS:
            spreads[base] = float(totals.std() / totals.mean())
    best = min(spreads, key=lambda base: spreads[base], default=_BASES[0])
    if spreads.get(best, 1.0) < _SPREAD:
        return best
    return 2.0 if sample.nnz and sample.data.max() > _LOG_MAX_E else _BASES[0]
