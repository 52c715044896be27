"""What every verb does first: find the values, name the genes, see whether they suffice for the model."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from ._errors import CountsError, GeneMatchError, InputError
from ._logging import say
from ._record import check_column
from .genes import Coverage, GeneMatch, check_coverage, load_gene_table, names_and_hints, resolve_genes
from .genes.coverage import coverage_of
from .inference import encode_groups
from .io.blocks import iter_blocks, spread_rows, take_rows
from .io.counts import Values, find_values
from .models import Columns, Wanted, load

if TYPE_CHECKING:
    from anndata import AnnData

    from .inference.device import Dtype
    from .models import CellModel, Encoded

SAMPLE = 2000  # cells on which coverage is measured
MIN_GENES = 20  # genes of the model below which an embedding says nothing


@dataclass(frozen=True)
class Query:
    """A data set as a model sees it."""

    values: Values
    match: GeneMatch
    columns: Columns
    coverage: Coverage


class HoldsModel(Protocol):
    """What has a model to give, as :class:`scfm_scverse.FoundationModel`."""

    @property
    def cell_model(self) -> CellModel:
        """The model."""
        ...


AnyModel: TypeAlias = "str | Path | CellModel | HoldsModel"
"""What verbs take as ``model=``: a name, the path of a checkpoint, a loaded model, or what holds one."""


def chosen_model(model: AnyModel) -> CellModel:
    """Return the model that a caller names, has loaded, or has in a ``FoundationModel``."""
    if isinstance(model, str | Path):
        return load(model)
    return cast("CellModel", getattr(cast(Any, model), "cell_model", model))


def receiver(adata: AnnData, key: str, *, copy: bool) -> AnnData:
    """Return the AnnData that results go into, or stop before any work where they could not be kept."""
    if not hasattr(adata, "obsm"):
        msg = (
            f"Found {type(adata).__name__}; expected an AnnData: read files with anndata.read_h5ad or read_zarr first."
        )
        raise InputError(msg)
    if "/" in key:
        msg = f"Found key_added={key!r}; expected a name without '/', which files cannot hold."
        raise InputError(msg)
    on_disk = adata.isbacked or (not adata.is_view and _lies_on_disk(adata.X))
    if on_disk and (copy or adata.is_view):
        what = "a view of a backed AnnData" if adata.is_view else "copy=True with a backed AnnData"
        msg = f"Found {what}, which would have to be read as a whole; call adata.to_memory() and pass the result."
        raise InputError(msg)
    return adata.copy() if copy else adata


def _lies_on_disk(matrix: Any) -> bool:
    return hasattr(matrix, "group") or type(matrix).__module__.partition(".")[0] in {"h5py", "zarr"}


def make_actual(adata: AnnData) -> None:
    """Turn a view into an AnnData of its own, as writing into it would, but without a warning."""
    if adata.is_view:
        say("the AnnData is a view; it becomes an actual object to hold the result")
        adata._init_as_actual(adata.copy())


def read_query(
    adata: AnnData,
    model: CellModel,
    *,
    layer: str | None,
    use_raw: bool,
    normalized: bool | None,
    gene_symbols: str | None,
    organism: Literal["human", "mouse"] | None,
) -> Query:
    """Find values and genes, or stop with the reason why the model cannot read them."""
    if adata.n_obs == 0 or adata.n_vars == 0:
        msg = f"The AnnData has {adata.n_obs} cells and {adata.n_vars} genes; expected at least one of each."
        raise InputError(msg)
    values = find_values(adata, layer=layer, use_raw=use_raw, normalized=normalized)
    if model.spec.needs_counts and values.kind == "log":
        msg = (
            f"{values.source} holds log-normalised values and {model.spec.name} needs counts; "
            "pass layer= to name the layer that holds them."
        )
        raise CountsError(msg)
    names, ids = names_and_hints(values.var, gene_symbols)
    match = resolve_genes(names, ids=ids, organism=organism)
    vocabulary = model.positions(match, ids)
    columns = Columns(vocabulary=vocabulary, counted=match.is_gene, base=values.base, names=tuple(ids or names))
    return Query(values, match, columns, _coverage(values, match, vocabulary, model))


def _coverage(values: Values, match: GeneMatch, position: NDArray[np.int32], model: CellModel) -> Coverage:
    """Stop where names mean nothing to us, or too few of them are genes of the model."""
    sample = take_rows(values.matrix, spread_rows(values.matrix, SAMPLE))
    totals = np.asarray(sample.sum(axis=0), dtype=np.float64).ravel()
    # The model may have chosen few genes on purpose, so the warning is about names that nothing here knows.
    named = np.where(match.rows >= 0, match.rows, position)
    known = coverage_of(match, named, len(load_gene_table()), totals)
    check_coverage(match, known, model="the gene table of scfm-scverse", stacklevel=_users_level())
    n_model = len(model.spec.genes)
    share = coverage_of(match, position, n_model, totals)
    measured = round(share.model * n_model)
    if measured < MIN_GENES:
        msg = (
            f"Found {measured} of the {n_model:,} genes of {model.spec.name} among the {len(match.rows):,} of the "
            f"data ({match.organism}, {match.kind} names); expected {MIN_GENES} at least. "
            "If the organism is wrong pass organism=, if the symbols are in a column of var pass gene_symbols=."
        )
        raise GeneMatchError(msg)
    say(
        f"{measured:,} of {n_model:,} genes of {model.spec.name} measured; {share.n_found:,} of {share.n_genes:,} "
        f"genes of the data known to it ({match.organism}, {match.kind} names)"
    )
    return share


def _users_level() -> int:
    """Return the ``stacklevel`` with which a function called here warns at the user's line."""
    levels, frame = 2, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("scfm_scverse."):
        levels, frame = levels + 1, frame.f_back
    return levels


def run_model(
    adata: AnnData,
    query: Query,
    model: CellModel,
    *,
    want: Wanted,
    batch_size: int | None,
    device: str,
    dtype: Dtype,
    done: NDArray[np.bool_] | None = None,
    totals: NDArray[np.float64] | None = None,
) -> Iterator[tuple[NDArray[np.int64], Encoded]]:
    """Yield what the model says of the cells of a query, minibatch by minibatch; ``done`` cells are left out."""
    check_batch_size(batch_size)
    return encode_groups(
        iter_blocks(query.values.matrix, names=adata.obs_names, genes=query.values.var.index),
        adata.n_obs,
        model=model,
        tokenize=model.tokenizer(query.columns),
        want=want,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        done=done,
        totals=totals,
    )


def check_batch_size(batch_size: int | None) -> None:
    """Stop where no cell could go through the model."""
    if batch_size is not None and batch_size < 1:
        msg = f"batch_size={batch_size!r}; expected a whole number, 1 at least, or None."
        raise InputError(msg)


def read_totals(adata: AnnData, model: CellModel, total_key: str | None) -> NDArray[np.float64] | None:
    """Total counts of the cells from a column of ``adata.obs``; ``None`` names none."""
    check_column(adata, "total_key", total_key)
    if total_key is None:
        return None
    if not model.spec.reads_totals:
        msg = f"Found total_key={total_key!r}; {model.spec.name} reads no totals: leave it out."
        raise InputError(msg)
    column = adata.obs[total_key]
    totals = np.full(len(column), np.nan) if column.dtype.kind not in "iuf" else column.to_numpy(np.float64)
    if not (np.isfinite(totals) & (totals >= 0)).all():
        msg = f"adata.obs[{total_key!r}] (total_key) holds other values than counts; expected one number a cell."
        raise InputError(msg)
    return totals


def fingerprint(adata: AnnData, query: Query) -> str:
    """Tell data sets apart without reading them as a whole: names, and the values of some cells from all over."""
    digest = hashlib.sha256()
    for names in (adata.obs_names, query.match.names):
        digest.update("\n".join(names).encode())
    sample = take_rows(query.values.matrix, spread_rows(query.values.matrix, SAMPLE))
    for part in (sample.indptr, sample.indices, sample.data, query.columns.vocabulary):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def groups_of(adata: AnnData, groupby: str | None) -> tuple[list[str], NDArray[np.int64]]:
    """Names of the groups and the group of each cell; cells without a value make one more group, without a name."""
    if groupby is None:
        return [], np.zeros(adata.n_obs, np.int64)
    check_column(adata, "groupby", groupby)
    column = adata.obs[groupby].astype("category").cat.remove_unused_categories()
    names = [str(name) for name in column.cat.categories]
    codes = column.cat.codes.to_numpy().astype(np.int64)
    return names, np.where(codes < 0, len(names), codes)


def positions_of_var(adata: AnnData, query: Query) -> NDArray[np.int32]:
    """Position in the model's vocabulary of each gene of ``adata.var``, whatever matrix was read, -1 for none."""
    names, vocabulary = query.values.var.index, query.columns.vocabulary
    first = np.flatnonzero(~names.duplicated())  # a name may stand twice
    found = names[first].get_indexer(adata.var_names)
    return np.where(found >= 0, vocabulary[first[found]], -1).astype(np.int32)


def places(position: NDArray[np.int32], n_vocabulary: int) -> NDArray[np.int32]:
    """Place of each entry of the vocabulary among those that occur, -1 for the others [v]."""
    kept = np.unique(position[position >= 0])
    place = np.full(n_vocabulary, -1, np.int32)
    place[kept] = np.arange(len(kept))
    return place
