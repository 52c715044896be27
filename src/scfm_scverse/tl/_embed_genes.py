"""``tl.embed_genes``: a vector for every gene."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._logging import say
from .._query import (
    AnyModel,
    chosen_model,
    groups_of,
    make_actual,
    places,
    positions_of_var,
    read_query,
    receiver,
    run_model,
)
from .._record import check_free, record
from ..inference.genes import mean_gene_vectors, overall
from ..models import Wanted
from ..models.base import check_wanted

if TYPE_CHECKING:
    from anndata import AnnData

    from ..inference.device import Dtype


def embed_genes(
    adata: AnnData,
    *,
    model: AnyModel = "scfm-mini",
    kind: Literal["static", "contextual"] = "static",
    groupby: str | None = None,
    key_added: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    output_layer: int | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    copy: bool = False,
) -> AnnData | None:
    """Embed every gene with a model.

    A static vector is what the model holds of a gene before it sees a cell. A contextual one is the gene's vector in a
    cell, after the network has seen the cell's other genes, averaged over the cells that express it (over all cells
    for models that read a whole panel).

    Parameters
    ----------
    adata
        Cells x genes. A view becomes an actual AnnData; one of a backed AnnData is refused.
    model
        Name of a model, path of a checkpoint, or a loaded model, as in :func:`scfm_scverse.tl.embed`.
    kind
        ``"static"`` or ``"contextual"``.
    groupby
        Column of ``adata.obs``: contextual vectors are averaged over the cells of each of its groups too.
    key_added
        Where the vectors go; ``None`` takes the model's own key and ``"_genes"`` (``"X_scGPT_genes"``).
    layer, use_raw, normalized, gene_symbols, organism
        What to read and how, as in :func:`scfm_scverse.tl.embed`.
    output_layer
        Layer that contextual vectors are read from, counted from the end: -1 is the last. ``None`` takes what the
        model's authors read.
    batch_size, device, dtype
        As in :func:`scfm_scverse.tl.embed`.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written:

    ``adata.varm[key_added]`` : float32 [g, d]
        One row a gene; NaN for genes that the model does not know, or that no cell expresses.
    ``adata.varm[key_added + "_group<i>"]`` : float32 [g, d]
        With ``groupby``, the same over the cells of the i-th group; :func:`scfm_scverse.get.gene_embedding` finds them
        by name.
    ``adata.uns["scfm"]["embed_genes"][key_added]``
        Model, kind, groups, arguments, version.

    Raises
    ------
    InputError
        ``groupby`` with static vectors, which no cell has a part in; or a model without contextual ones.
    MissingKeyError
        ``groupby`` is no column of ``adata.obs``.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.embed_genes(adata)
    >>> adata.varm["X_scfm_genes"].shape
    (765, 256)
    """
    cell_model = chosen_model(model)
    if kind not in ("static", "contextual") or (kind == "static" and (groupby, output_layer) != (None, None)):
        msg = (
            f"Found kind={kind!r} with groupby={groupby!r} and output_layer={output_layer!r}; "
            "expected 'contextual', or 'static' without both."
        )
        raise InputError(msg)
    want = Wanted(frozenset({"gene"}), layer=output_layer)
    if kind == "contextual":
        check_wanted(cell_model.spec, want)
    key = key_added or f"{cell_model.spec.key_added}_genes"
    adata = receiver(adata, key, copy=copy)
    names, group = groups_of(adata, groupby)
    slots = [key, *(f"{key}_group{i}" for i in range(len(names)))]
    check_free(adata, "varm", slots, verb="embed_genes", record_key=key, model_id=cell_model.spec.id)
    query = read_query(
        adata,
        cell_model,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
    )
    position = positions_of_var(adata, query)
    if kind == "static":
        vectors = {key: _rows(cell_model.gene_vectors(), position)}
    else:
        answers = run_model(adata, query, cell_model, want=want, batch_size=batch_size, device=device, dtype=dtype)
        place = places(position, len(cell_model.spec.genes))
        means = mean_gene_vectors(answers, group, place)
        at = np.where(position >= 0, place[position], -1)
        found = [overall(means), *means.mean[: len(names)]]
        vectors = {slot: _rows(mean, at) for slot, mean in zip(slots, found, strict=True)}
    make_actual(adata)
    for slot, rows in vectors.items():
        adata.varm[slot] = rows
    record(
        adata,
        "embed_genes",
        key,
        {
            "model": cell_model.spec.name,
            "model_id": cell_model.spec.id,
            "kind": kind,
            "groupby": groupby,
            "groups": names,
            "source": query.values.source,
            "output_layer": output_layer,
            "dtype": dtype,
        },
    )
    say(f"embedded {int((position >= 0).sum()):,} genes with {cell_model.spec.name} ({kind}): varm[{key!r}]")
    return adata if copy else None


def _rows(vectors: NDArray[np.float32], at: NDArray[np.integer]) -> NDArray[np.float32]:
    """Vectors of some rows, NaN where the row is -1."""
    return np.where((at >= 0)[:, None], vectors[at], np.float32(np.nan)).astype(np.float32)
