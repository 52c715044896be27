"""``tl.perturb``: what a model says of every cell if one perturbation had happened to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .._errors import GeneMatchError, InputError
from .._logging import progress_bar, say
from .._query import (
    AnyModel,
    Query,
    check_batch_size,
    chosen_model,
    groups_of,
    make_actual,
    read_query,
    read_totals,
    receiver,
)
from .._record import check_free, record
from ..inference.device import cpu_threads
from ..models import CellModel
from ..models.base import Output
from ..perturbation import Kind, Reading, compare_pairs
from ..perturbation.names import parse_perturbation
from ._perturb_cells import PerturbedCells
from ._perturbation import NOT_MEASURED, WHY, check_kind, find_genes, reading_of, unperturbed
from ._predicted_change import PredictedChange, changes_of, check_genes_out, choose_genes

if TYPE_CHECKING:
    from anndata import AnnData

    from ..inference.device import Dtype


def perturb(
    adata: AnnData,
    genes: str | tuple[str, ...],
    *,
    kind: Kind = "delete",
    dose: float = 1.0,
    groupby: str | None = None,
    model: AnyModel = "scfm-mini",
    key_added: str = "scfm",
    genes_out: int | Sequence[str] = 100,
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
    dtype: Dtype = "float32",
    copy: bool = False,
) -> AnnData | None:
    """Perturb one gene, or several together, in every cell and ask a model what changes.

    A cell is read as if it had been measured with the gene deleted, inhibited, activated or overexpressed; Geneformer's
    deletion and overexpression are those of its authors. The table of what each kind means for each model is in the
    guide on perturbation, beside what may be concluded: a model that was trained on unperturbed cells knows which genes
    go together, not which of them is the cause.

    Parameters
    ----------
    adata
        Cells x genes. A view becomes an actual AnnData; one of a backed AnnData is refused.
    genes
        One perturbation: the name of a gene, or several names that are perturbed together, ``("STAT1", "JAK2")`` or
        ``"STAT1+JAK2"``. Names of GEARS are read too (``"STAT1+ctrl"``). For many perturbations see
        :func:`rank_perturbations`.
    kind
        ``"delete"``: no expression. ``"inhibit"``: expression times ``1 - dose``. ``"activate"``: times ``1 + dose``.
        ``"overexpress"``: the largest value of the cell, also where the cell does not express the gene.
    dose
        Share by which expression falls (above 0 to 1) or rises (above 0); 1 for the other kinds.
    groupby
        Column of ``adata.obs``; the mean effect of each of its groups goes into the record, see
        :func:`scfm_scverse.get.perturbation_effect`.
    model
        Name of a model, path of a checkpoint, or a loaded model.
    key_added
        Name of the result, ``k`` below.
    genes_out
        Genes whose predicted change is written, where the model decodes expression: their names, or how many, those
        that change most in a sample of the cells. 0 writes none and saves the time.
    layer, use_raw, normalized, gene_symbols, organism, output_layer, pooling, total_key
        As in :func:`embed`.
    batch_size
        Cells that go through the model together at most. Does not change the result.
    device, dtype
        As in :func:`embed`, but float32 by default: effects are small differences.
    copy
        Return a copy instead of writing into ``adata``.

    Returns
    -------
    ``None``, or the copy. Written:

    ``adata.obsm["X_{k}_perturbed"]`` : float32 [n, d]
        The embedding of each cell after the perturbation; that of the cell itself where the gene is not expressed and
        nothing changes; NaN for a cell without counts on the model's genes.
    ``adata.obs["{k}_effect"]`` : float32
        1 - cosine between both embeddings, 0 where nothing changes. For Geneformer V1, as its authors define it, 1 -
        mean cosine of the vectors of the other genes.
    ``adata.layers["{k}_delta"]`` : sparse float32 [n, g]
        Predicted change of expression of ``genes_out``, in the units of the model (scfm-mini: log1p of counts per
        10,000; scGPT: bins; scFoundation: its log values at the target depth). The perturbed genes are left out.
    ``adata.obsm[model.spec.key_added]``
        The embedding of the cells as they are, if it was not there. Where one is there that was made in another way
        (from another layer, in bfloat16), theirs goes to ``adata.obsm["X_{k}_unperturbed"]``.
    ``adata.uns["scfm"]["perturb"][k]``
        Perturbation, model, how many cells it changed, mean effect of each group.

    Raises
    ------
    InputError
        Several perturbations, a gene twice, an unknown kind, a dose that contradicts the kind.
    GeneMatchError
        A gene is not in the data, not known to the model, or expressed in no cell.
    ModelMismatchError
        The result of another model stands under this key.

    Examples
    --------
    >>> import scanpy as sc, scfm_scverse as scfm
    >>> adata = sc.datasets.pbmc68k_reduced()
    >>> scfm.tl.perturb(adata, "CD74", groupby="bulk_labels")
    >>> bool(adata.obs["scfm_effect"].max() > 0)
    True

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624 (in-silico deletion and overexpression).
    """
    started = perf_counter()
    names = _one_perturbation(genes)
    check_kind(kind, dose)
    cell_model = chosen_model(model)
    reading = reading_of(cell_model, output_layer, pooling)
    asked = check_genes_out(genes_out, cell_model)
    check_batch_size(batch_size)
    adata = receiver(adata, key_added, copy=copy)
    slots = {"obsm": f"X_{key_added}_perturbed", "layers": f"{key_added}_delta", "obs": f"{key_added}_effect"}
    for attr, slot in slots.items():
        check_free(adata, attr, [slot], verb="perturb", record_key=key_added, model_id=cell_model.spec.id)  # type: ignore[arg-type]
    groups, group = groups_of(adata, groupby)
    source = {"layer": layer, "use_raw": use_raw, "normalized": normalized, "gene_symbols": gene_symbols}
    query = read_query(adata, cell_model, **source, organism=organism)  # type: ignore[arg-type]
    source |= {"organism": organism, "total_key": total_key}
    totals = read_totals(adata, cell_model, total_key)
    work = PerturbedCells(query, cell_model, _positions(names, query, cell_model), kind, dose, totals)
    affected = work.find(adata)
    if not len(affected):
        msg = (
            f"Found {'+'.join(names)!r} expressed in no cell, so that kind={kind!r} changes none; expected one or more."
        )
        raise GeneMatchError(msg)
    running: dict[str, Any] = {"batch_size": batch_size, "device": device, "dtype": dtype}
    change = choose_genes(adata, work, affected, asked, running) if asked else None
    base_key, embedding = unperturbed(adata, cell_model, key_added, reading, device, source, dtype)
    vectors, effect = _run(work, affected, reading, running, change, embedding)
    make_actual(adata)
    adata.obsm[slots["obsm"]], adata.obs[slots["obs"]] = vectors, effect
    if slots["layers"] in adata.layers:
        del adata.layers[slots["layers"]]  # of an earlier perturbation
    if change is not None:
        adata.layers[slots["layers"]] = change.matrix()
    done = {
        "genes": names,
        "kind": kind,
        "dose": float(dose),
        "model": cell_model.spec.name,
        "model_id": cell_model.spec.id,
        "embedding_key": base_key,
        "values": query.values.source,
        "n_cells": adata.n_obs,
        "n_affected": len(affected),
        "mean_effect": _mean(effect[affected]),
        "genes_out": [] if change is None else adata.var_names[change.columns[change.columns >= 0]],
        "output_layer": output_layer,
        "pooling": pooling,
        "dtype": dtype,
    }
    record(adata, "perturb", key_added, done | source | _by_group(groupby, groups, group, affected, effect))
    say(
        f"{kind} {'+'.join(names)} changes {len(affected):,} of {adata.n_obs:,} cells in "
        f"{perf_counter() - started:.1f} s: obs[{slots['obs']!r}]"
    )
    return adata if copy else None


def _one_perturbation(genes: object) -> tuple[str, ...]:
    """Names of the genes of one perturbation."""
    if isinstance(genes, list | set) or not isinstance(genes, str | tuple):
        msg = (
            f"Found {type(genes).__name__} as genes; expected one perturbation: a name, or names perturbed together as "
            "a tuple or joined by '+'. For a list of perturbations see scfm.tl.rank_perturbations."
        )
        raise InputError(msg)
    names = parse_perturbation(genes)
    if not names:
        msg = f"Found genes={genes!r}, which names no gene but a control; expected the name of a gene at least."
        raise InputError(msg)
    return names


def _positions(names: tuple[str, ...], query: Query, model: CellModel) -> NDArray[np.int32]:
    """Position in the vocabulary of each gene; all must be there, each once."""
    found = find_genes(names, query)
    for name, position in zip(names, found.tolist(), strict=True):
        if position < 0:
            expected = (
                "names of genes of the data" if position == NOT_MEASURED else f"genes that {model.spec.name} knows"
            )
            msg = f"Found the gene {name!r}, which is {WHY[position]}; expected {expected}."
            raise GeneMatchError(msg)
    if len(np.unique(found)) < len(found):
        msg = f"Found {'+'.join(names)!r}, where two names stand for one gene; expected different genes."
        raise InputError(msg)
    return found


def _run(
    work: PerturbedCells,
    affected: NDArray[np.int64],
    reading: Reading,
    running: dict[str, Any],
    change: PredictedChange | None,
    embedding: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embedding after the perturbation [n, d], and effect [n], of all cells."""
    vectors = embedding.astype(np.float32, copy=True)
    effect = np.where(np.isnan(vectors[:, 0]), np.nan, 0).astype(np.float32)
    # What loses its last gene is an empty cell.
    vectors[affected], effect[affected] = np.nan, np.nan
    outputs: set[Output] = {"cell"} if change is None else {"cell", "expression"}
    want = replace(reading.wanted, outputs=reading.wanted.outputs | outputs)
    with cpu_threads(), progress_bar(len(affected), unit="cell", label=f"running {work.model.spec.name}") as advance:
        for cells, pairs in work.run(affected, want, **running, advance=advance):
            if pairs.edited.cell is not None:
                vectors[cells] = pairs.edited.cell.float().cpu().numpy()
            effect[cells] = 1 - compare_pairs(pairs, np.tile(work.genes, (len(cells), 1)), reading).similarity
            if change is not None:
                change.add(cells, changes_of(pairs, work.genes, change.columns >= 0))
    return vectors, effect


def _by_group(
    groupby: str | None,
    names: list[str],
    group: NDArray[np.int64],
    affected: NDArray[np.int64],
    effect: NDArray[np.float32],
) -> dict[str, Any]:
    """Cells of each group, how many were changed, and by how much on average."""
    of_group = [affected[group[affected] == at] for at in range(len(names))]
    return {
        "groupby": groupby,
        "groups": names,
        "group_cells": np.bincount(group, minlength=len(names))[: len(names)],
        "group_affected": [len(cells) for cells in of_group],
        "group_effect": [_mean(effect[cells]) for cells in of_group],
    }


def _mean(effect: NDArray[np.float32]) -> float:
    """Mean of the cells that have an effect: those that keep a gene."""
    known = effect[~np.isnan(effect)]
    return float(known.mean(dtype=np.float64)) if len(known) else np.nan
