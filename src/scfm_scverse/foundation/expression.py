"""The expression that a model tells of genes, whether the data measured them or not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from .._query import check_batch_size
from ..genes import names_and_hints, resolve_genes
from ..models import CellModel, GeneRows, Pass, Wanted
from ..nn import Spans
from ..training.cells import Cells
from .answers import encoded, passes, trainable
from .data import Organism

if TYPE_CHECKING:
    import torch
    from anndata import AnnData

    from ..models.scfm_mini.network import MiniNetwork
    from ..models.scgpt.network import ScgptNetwork

AT_ONCE = 2**15  # pairs of a cell and a gene that are decoded together


def genes_to_tell(
    model: CellModel,
    adata: AnnData,
    genes: Sequence[str] | None,
    *,
    use_raw: bool = False,
    gene_symbols: str | None = None,
    organism: Organism | None = None,
    **_: object,
) -> tuple[list[str], NDArray[np.int64]]:
    """Names of genes that are asked for, else of those of the data, and their positions in the vocabulary.

    A gene of the data that is not in it has the position -1.

    Raises
    ------
    InputError
        A gene that was asked for is not in it.
    """
    if genes is None:
        var = adata.raw.var if use_raw else adata.var
        symbols, ids = names_and_hints(var, gene_symbols)
        match = resolve_genes(symbols, ids=ids, organism=organism)
        return var.index.tolist(), model.positions(match, ids).astype(np.int64)
    names = list(genes)
    found = model.positions(resolve_genes(names, organism=organism), None).astype(np.int64)
    if (found < 0).any():
        strange = [name for name, at in zip(names, found, strict=True) if at < 0]
        more = f" and {len(strange) - 1} more" if strange[1:] else ""
        msg = f"Found the gene {strange[0]!r}{more}, unknown to {model.spec.name}; expected genes of its vocabulary."
        raise InputError(msg)
    return names, found


def expression(
    model: CellModel,
    cells: Cells,
    rows: NDArray[np.int64],
    genes: NDArray[np.int64],
    *,
    batch_size: int | None,
    device: str,
) -> NDArray[np.float32]:
    """Expression of genes, given by position in the vocabulary, in chosen cells, [n, k]; NaN for one without tokens.

    A gene may be asked for under several names.

    Raises
    ------
    InputError
        The model tells no expression of genes that a cell does not show.
    """
    if "expression" not in model.spec.outputs:
        msg = (
            f"Found {model.spec.name}, which tells no expression; expected scfm-latent, scFoundation's model "
            "'gene', scGPT or scfm-mini."
        )
        raise InputError(msg)
    check_batch_size(batch_size)
    wanted, where = np.unique(rows, return_inverse=True)
    genes, named = np.unique(genes, return_inverse=True)
    out = np.full((len(wanted), len(genes)), np.nan, np.float32)
    ways: dict[str, Callable[..., torch.Tensor]] = {"scGPT": _of_scgpt, "scfm-mini": _of_mini}
    of_vectors = ways.get(model.spec.name)
    if of_vectors is not None:
        for at, seen, batches in passes(trainable(model), cells, wanted, batch_size=batch_size, device=device):
            out[at] = of_vectors(cast("Any", model).network, seen, batches, genes).cpu().numpy()
        return out[where][:, named]
    place = np.full(len(model.spec.genes), -1)
    place[genes] = np.arange(len(genes))
    want = Wanted(frozenset({"expression"}))
    for at, answer in encoded(model, cells, wanted, want, batch_size=batch_size, device=device):
        told = cast("GeneRows", answer.expression)
        to = place[told.gene.cpu().numpy()]
        out[at[told.cell.cpu().numpy()[to >= 0]], to[to >= 0]] = told.values.float().cpu().numpy()[to >= 0]
    return out[where][:, named]


def _of_scgpt(
    network: ScgptNetwork, seen: Pass, batches: torch.Tensor | None, genes: NDArray[np.int64]
) -> torch.Tensor:
    """Bins of genes told from the vectors of cells alone, [b, k], some genes at a time."""
    import torch

    if network.config.mvc is None:
        msg = "Found a scGPT without a decoder from cells, which alone tells genes that were not measured."
        raise InputError(msg)
    parts, n = [], len(seen.cell)
    for some in torch.split(torch.from_numpy(genes).to(seen.cell.device), max(1, AT_ONCE // n)):
        vectors = network.encoder(some).repeat(n, 1)
        told = network.from_cell(seen.cell, vectors, Spans((len(some),) * n), batches)
        value = told.value if told.nonzero is None else told.value * told.nonzero
        parts.append(value.view(n, -1).float())
    return torch.cat(parts, dim=1)


def _of_mini(network: MiniNetwork, seen: Pass, _: torch.Tensor | None, genes: NDArray[np.int64]) -> torch.Tensor:
    """Log values of genes told from the vectors of cells, [b, k]."""
    import torch

    some = torch.from_numpy(genes).to(seen.cell.device)
    return network.told(seen.cell, some) * network.sd[some] + network.mean[some]
