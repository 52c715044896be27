"""``tl.embed``: a vector for every cell."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._logging import say
from .._query import AnyModel, chosen_model, fingerprint, make_actual, read_query, read_totals, receiver, run_model
from .._record import check_free, read_record, record
from ..inference import Partial, encode_cells
from ..models import CellModel, Wanted
from ..models.base import check_wanted

if TYPE_CHECKING:
    from anndata import AnnData

    from ..inference.device import Dtype


def embed(
    adata: AnnData,
    *,
    model: AnyModel = "scfm-mini",
    key_added: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    output_layer: int | None = None,
    pooling: str | None = None,
    total_key: str | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    resume: str | Path | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Embed every cell with a model.

    The values are found by themselves: raw counts in ``X``, ``layers["counts"]`` or ``raw``, else log-normalised
    values where the model takes them. Genes are matched by symbol or Ensembl id, of human or mouse. The matrix is read
    block by block and never made dense; a backed AnnData stays on disk. A cell's vector depends on that cell alone.

    Parameters
    ----------
    adata
        Cells x genes. A view becomes an actual AnnData; one of a backed AnnData is refused.
    model
        Name of a model (see :func:`scfm_scverse.models.available`), path of a checkpoint that its authors released,
        or a loaded model (see :func:`scfm_scverse.models.load`).
    key_added
        Where the embedding goes; ``None`` takes the model's own key (``"X_scfm"`` for scfm-mini).
    layer
        Layer to read instead of searching.
    use_raw
        Read ``adata.raw`` instead of searching.
    normalized
        ``True`` if the values are log-normalised, ``False`` if they are linear; ``None`` tells by looking.
    gene_symbols
        Column of ``adata.var`` that holds gene symbols, where ``var_names`` are something else.
    organism
        ``"human"`` or ``"mouse"``; ``None`` tells by the names.
    output_layer
        Layer that the embedding is read from, counted from the end as in Python: -1 is the last. ``None`` takes what
        the model's authors read (their own ``emb_layer`` -1 of Geneformer is -2 here).
    pooling
        How the vectors of a cell's genes become one; ``None`` takes the model's own way. The others are in
        ``model.spec.poolings``.
    total_key
        Column of ``adata.obs`` with the total counts of each cell, where ``adata`` holds a part of the genes only;
        for scFoundation, which reads them.
    batch_size
        Cells that go through the model together; ``None`` decides by their length. Does not change the result.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``.
    dtype
        ``"auto"``, ``"float32"`` or ``"bfloat16"``. Automatically bfloat16 where the processor computes in it and the
        model bears it, else float32.
    resume
        Folder in which finished cells are kept. The same call goes on where an earlier one was cut short, and removes
        the folder in the end.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written:

    ``adata.obsm[key_added]`` : float32 [n, d]
        One row a cell, in the order of the cells; NaN for a cell without counts on the model's genes.
    ``adata.uns["scfm"]["embed"][key_added]``
        Model and weights, where the values came from, genes found, arguments, version.

    Raises
    ------
    CountsError
        No matrix holds values that the model reads.
    GeneMatchError
        Too few genes are known.
    ModelMismatchError
        ``key_added`` was written by another model.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.embed(adata)
    >>> adata.obsm["X_scfm"].shape
    (700, 256)
    """
    started = perf_counter()
    cell_model = chosen_model(model)
    want = Wanted(layer=output_layer, pooling=pooling)
    check_wanted(cell_model.spec, want)
    key = key_added or cell_model.spec.key_added
    adata = receiver(adata, key, copy=copy)
    check_free(adata, "obsm", [key], verb="embed", record_key=key, model_id=cell_model.spec.id)
    query = read_query(
        adata,
        cell_model,
        layer=layer,
        use_raw=use_raw,
        normalized=normalized,
        gene_symbols=gene_symbols,
        organism=organism,
    )
    totals = read_totals(adata, cell_model, total_key)
    made_from = {"model": cell_model.spec.id, "layer": output_layer, "pooling": pooling, "dtype": dtype}
    made_from["totals"] = None if totals is None else hashlib.sha256(totals.tobytes()).hexdigest()
    partial = resume and Partial(Path(resume), made_from | {"data": fingerprint(adata, query)}, adata.n_obs)
    answers = run_model(
        adata,
        query,
        cell_model,
        want=want,
        batch_size=batch_size,
        device=device,
        dtype=dtype,
        done=partial.done if partial else None,
        totals=totals,
    )
    embedding = encode_cells(answers, adata.n_obs, cell_model.spec.dim, partial or None)
    make_actual(adata)
    adata.obsm[key] = embedding
    if partial:
        partial.remove()
    n_empty = int(np.isnan(embedding[:, 0]).sum())
    record(
        adata,
        "embed",
        key,
        {
            "model": cell_model.spec.name,
            "model_id": cell_model.spec.id,
            "source": query.values.source,
            "values": query.values.kind,
            "organism": query.match.organism,
            "n_genes_known": query.coverage.n_found,
            "share_of_counts_known": query.coverage.counts,
            "share_of_model_measured": query.coverage.model,
            "n_empty_cells": n_empty,
            "layer": layer,
            "use_raw": use_raw,
            "normalized": normalized,
            "gene_symbols": gene_symbols,
            "output_layer": output_layer,
            "pooling": pooling,
            "total_key": total_key,
            "dtype": dtype,
        },
    )
    if n_empty:
        say(f"{n_empty:,} cells have no counts on the model's genes; their rows are NaN", level=logging.WARNING)
    seconds = perf_counter() - started
    say(f"embedded {adata.n_obs:,} cells with {cell_model.spec.name} in {seconds:.1f} s: obsm[{key!r}]")
    return adata if copy else None


def embedding_of(adata: AnnData, model: CellModel, device: str, reading: Mapping[str, Any]) -> NDArray[np.float32]:
    """Return the embedding that tl.embed kept; made anew where there is none or where the caller says what to read."""
    key = model.spec.key_added
    written = read_record(adata, "embed", key) or {}
    given = {
        name: value for name, value in reading.items() if value is not None and (name, value) != ("use_raw", False)
    }
    usual = written.get("model_id") == model.spec.id and not (written.get("output_layer") or written.get("pooling"))
    if given or key not in adata.obsm or not usual:
        embed(adata, model=model, device=device, **given)
    out: NDArray[np.float32] = adata.obsm[key]
    return out
