"""``tl.gene_attention``: which genes a model looks at when it reads a gene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import GeneMatchError
from .._logging import say
from .._query import AnyModel, chosen_model, make_actual, places, positions_of_var, read_query, receiver, run_model
from .._record import check_free, record
from ..inference.genes import mean_attention
from ..models import Attention, CellModel, Wanted
from ..models.base import check_wanted

if TYPE_CHECKING:
    from anndata import AnnData

    from ..inference.device import Dtype


def gene_attention(
    adata: AnnData,
    genes: Sequence[str],
    *,
    model: AnyModel,
    output_layer: int = -1,
    heads: Sequence[int] | None = None,
    key_added: str | None = None,
    layer: str | None = None,
    use_raw: bool = False,
    normalized: bool | None = None,
    gene_symbols: str | None = None,
    organism: Literal["human", "mouse"] | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    dtype: Dtype = "auto",
    copy: bool = False,
) -> AnnData | None:
    """Measure how much attention some genes pay to the others.

    In every cell that holds a named gene, the share of its attention that goes to each other gene is taken from the
    chosen heads of one layer; shares are averaged over heads, and over the cells that hold both genes. Only the rows
    of the named genes are ever computed. Attention is no proof of regulation.

    Parameters
    ----------
    adata
        Cells x genes. A view becomes an actual AnnData; one of a backed AnnData is refused.
    genes
        Genes that look, as ``adata.var_names`` has them.
    model
        Name of a model, path of a checkpoint, or a loaded model, as in :func:`scfm_scverse.tl.embed`.
    output_layer
        Layer whose attention is read, counted from the end: -1 is the last.
    heads
        Heads to average over, from 0; ``None`` takes all.
    key_added
        Where the shares go; ``None`` takes the model's own key and ``"_attention"`` (``"X_scGPT_attention"``).
    layer, use_raw, normalized, gene_symbols, organism
        What to read and how, as in :func:`scfm_scverse.tl.embed`.
    batch_size, device, dtype
        As in :func:`scfm_scverse.tl.embed`.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written:

    ``adata.varm[key_added]`` : float32 [g, len(genes)]
        Column ``j`` holds the mean share of the attention of ``genes[j]`` that goes to each gene; NaN where no cell
        holds both. :func:`scfm_scverse.get.gene_attention` gives it with names.
    ``adata.uns["scfm"]["gene_attention"][key_added]``
        Model, genes, layer, heads, arguments, version.

    Raises
    ------
    GeneMatchError
        A gene is not in ``adata.var_names``, or the model does not know it.
    InputError
        The model gives no attention, or has no such layer or head.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.gene_attention(adata, ["CD3D"], model="scGPT_human")  # doctest: +SKIP
    >>> scfm.get.gene_attention(adata, key="X_scGPT_attention")["CD3D"].nlargest(5)  # doctest: +SKIP
    """
    cell_model = chosen_model(model)
    genes = [genes] if isinstance(genes, str) else list(genes)
    key = key_added or f"{cell_model.spec.key_added}_attention"
    adata = receiver(adata, key, copy=copy)
    check_free(adata, "varm", [key], verb="gene_attention", record_key=key, model_id=cell_model.spec.id)
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
    asked = _positions_of(adata, genes, position, cell_model)
    chosen = None if heads is None else tuple(heads)
    attention = Attention(tuple(asked.tolist()), output_layer, chosen)
    want = Wanted(frozenset({"attention"}), attention=attention)
    check_wanted(cell_model.spec, want)
    answers = run_model(adata, query, cell_model, want=want, batch_size=batch_size, device=device, dtype=dtype)
    n_vocabulary = len(cell_model.spec.genes)
    place, who = places(position, n_vocabulary), places(asked, n_vocabulary)
    means = mean_attention(answers, who, place)
    shares = means.mean.mean(axis=2).T if means.mean.shape[2] else np.full(means.n_cells.T.shape, np.nan, np.float32)
    at = np.where(position >= 0, place[position], -1)
    make_actual(adata)
    adata.varm[key] = np.where((at >= 0)[:, None], shares[at][:, who[asked]], np.nan).astype(np.float32)
    record(
        adata,
        "gene_attention",
        key,
        {
            "model": cell_model.spec.name,
            "model_id": cell_model.spec.id,
            "genes": genes,
            "output_layer": output_layer,
            "heads": heads,
            "source": query.values.source,
            "dtype": dtype,
        },
    )
    say(f"attention of {len(genes)} genes with {cell_model.spec.name}: varm[{key!r}]")
    return adata if copy else None


def _positions_of(
    adata: AnnData, genes: Sequence[str], position: NDArray[np.int32], model: CellModel
) -> NDArray[np.int32]:
    """Position in the vocabulary of each named gene."""
    column = adata.var_names.get_indexer_for(genes)
    if not genes or len(column) != len(genes) or (column < 0).any():
        absent = [name for name in genes if name not in adata.var_names]
        what = f"{absent[0]!r} among genes=" if absent else f"genes={genes!r}"
        msg = f"Found {what}; expected names that occur once in adata.var_names, one at least."
        raise GeneMatchError(msg)
    unknown = [name for name, at in zip(genes, position[column].tolist(), strict=True) if at < 0]
    if unknown:
        msg = f"{model.spec.name} does not know the gene {unknown[0]!r}; expected genes of its vocabulary."
        raise GeneMatchError(msg)
    asked: NDArray[np.int32] = position[column]
    return asked
