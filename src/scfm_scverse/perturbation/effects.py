"""What a model says of edited copies of cells beside what it says of the cells.

Without states a shift is a cosine: 1 is no effect. With states it is the change of the cosine to a state: 0 is no
effect, and above 0 is towards the state.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from .._logging import progress_bar
from ..inference.buckets import token_budget
from ..inference.device import choose_device, cpu_threads
from ..models import CellModel, Encoded, GeneRows, Wanted
from ..models.base import Output
from ..tokens import Tokens
from .baselines import cut, find_baselines
from .copies import Copies, Mode, special_tokens

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Reading:
    """What is read of the model, and how a copy is compared with its cell.

    Attributes
    ----------
    compare
        Without states: ``"cell"`` compares the vectors of the cells, ``"genes"`` those of each gene that is in both and
        was not perturbed, and takes the mean (Geneformer V1's rule).
    genes
        Whether the shift of each gene is told too.
    pooling, layer
        As in :class:`scfm_scverse.models.Wanted`.
    states
        float32 [s, d]: vectors of states that cells are compared with.
    """

    compare: Literal["cell", "genes"] = "cell"
    genes: bool = False
    pooling: str | None = None
    layer: int | None = None
    states: NDArray[np.float32] | None = None

    @property
    def wanted(self) -> Wanted:
        """What the model is asked for."""
        of_cells: Output = "cell" if self.compare == "cell" or self.states is not None else "gene"
        outputs: frozenset[Output] = frozenset({of_cells, "gene"} if self.genes else {of_cells})
        return Wanted(outputs, layer=self.layer, pooling=self.pooling)


@dataclass(frozen=True)
class Shifts:
    """Shifts of some copies and of genes in them.

    Attributes
    ----------
    copy
        int64 [b]: which copies.
    cell
        float32 [b], or [b, s] with states: shift of the cell; NaN where nothing is left to compare.
    gene_copy, gene, gene_shift
        int64 [k], int32 [k], float32 [k]: copy, gene and shift of each gene that is read, empty if none is.
    """

    copy: NDArray[np.int64]
    cell: NDArray[np.float32]
    gene_copy: NDArray[np.int64]
    gene: NDArray[np.int32]
    gene_shift: NDArray[np.float32]


def stream_shifts(
    model: CellModel,
    tokens: Tokens,
    copies: Copies,
    reading: Reading,
    *,
    context: int,
    mode: Mode = "default",
    device: str = "auto",
) -> Iterator[Shifts]:
    """Run a model over edited copies of cells, minibatch after minibatch, in float32.

    Only the copies of one minibatch exist at a time. Copies of a cell have one length and run together; the cell
    itself runs once.

    Parameters
    ----------
    model
        The model. A difference of cosines needs float32, so nothing else is offered.
    tokens
        Tokens of the cells.
    copies
        Which copies, from :func:`perturb_each` or :func:`perturb_together`.
    reading
        What is read of them.
    context
        Tokens of a cell at most, special ones included.
    mode
        ``"original"`` compares with a cell that is cut more than needed, and names the genes that overexpression
        affects one place off, where the original does.
    device
        Where the model computes.

    Yields
    ------
    Shifts of the copies of a minibatch; together every copy once, those of one cell one after the other.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.perturbation import Reading, perturb_each, shift_tables, special_tokens, stream_shifts
    >>> model = scfm.models.load("Geneformer-V2-104M")  # doctest: +SKIP
    >>> copies = perturb_each(tokens, "delete", special_tokens(model.spec))  # doctest: +SKIP
    >>> cells, _ = shift_tables(copies, stream_shifts(model, tokens, copies, Reading(), context=4096))  # doctest: +SKIP

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624.
    """
    import torch

    special, where = special_tokens(model.spec), choose_device(device)
    budget = token_budget(model.spec.minibatch_tokens, where)

    def encode(minibatch: Tokens) -> Encoded:
        return model.encode(minibatch, reading.wanted, device=where, dtype=torch.float32)

    baselines = find_baselines(tokens, copies, special, context, mode)
    displaces = mode == "original" and copies.kind == "overexpress" and copies.each
    with cpu_threads(), progress_bar(len(copies), unit="copy", label=f"running {model.spec.name}") as advance:
        for cells, rows in baselines.groups(budget):
            original = encode(baselines.tokens.take(np.arange(cells.start, cells.stop)))
            for part in cut(tokens.lengths[copies.cell[rows]], budget):
                some = rows[part]
                edited = encode(copies.take(some).tokens(tokens, special, context))
                of = torch.from_numpy(baselines.of[some] - cells.start).to(where)
                perturbed = torch.from_numpy(copies.genes[some]).to(where)
                yield _compared(some, edited, original, of, perturbed, reading, displaces=displaces)
                advance(len(some))


def _compared(
    copy: NDArray[np.int64],
    edited: Encoded,
    original: Encoded,
    of: torch.Tensor,
    perturbed: torch.Tensor,
    reading: Reading,
    *,
    displaces: bool,
) -> Shifts:
    import torch

    from .compare import cell_shifts, displaced, gene_shifts, mean_of_genes

    cell = torch.full((len(copy),), torch.nan)
    genes = None
    if edited.gene is not None and original.gene is not None:
        genes = gene_shifts(edited.gene, original.gene, of, perturbed)
        cell = mean_of_genes(genes, len(copy))
    if edited.cell is not None and original.cell is not None:
        states = None if reading.states is None else torch.from_numpy(reading.states).to(of.device)
        cell = cell_shifts(edited.cell, original.cell, of, states)
    if genes is None or not reading.genes:
        none = torch.zeros(0, dtype=torch.int64)
        genes = GeneRows(none, none, torch.zeros(0))
    named = displaced(genes) if displaces else genes
    return Shifts(
        copy=copy,
        cell=cell.cpu().numpy(),
        gene_copy=copy[named.cell.cpu().numpy()],
        gene=named.gene.cpu().numpy().astype(np.int32),
        gene_shift=named.values.cpu().numpy(),
    )


def shift_tables(
    copies: Copies, stream: Iterable[Shifts], states: Sequence[str] = ()
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gather shifts as tables for the statistics.

    Parameters
    ----------
    copies, stream
        The copies and what :func:`stream_shifts` yields of them.
    states
        Names of the states, if shifts to states were read.

    Returns
    -------
    Shifts of cells, one row a copy in the order of the copies: ``perturbed``, ``cell``, and ``shift`` or a column for
    each state. ``table.pivot(index="cell", columns="perturbed", values="shift")`` is the matrix of cells and
    perturbations. Then those of genes: ``perturbed``, ``cell``, ``affected``, ``shift``.
    """
    parts = list(stream)
    cells = pd.DataFrame({"perturbed": copies.perturbed, "cell": copies.cell})
    values = np.full((len(copies), max(1, len(states))), np.nan, np.float32)
    for part in parts:
        values[part.copy] = part.cell.reshape(len(part.copy), -1)
    for at, name in enumerate(states or ("shift",)):
        cells[name] = values[:, at]
    copy, gene, shift = (
        np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, np.int64)
        for name in ("gene_copy", "gene", "gene_shift")
    )
    order = np.argsort(copy, kind="stable")
    genes = cells[["perturbed", "cell"]].iloc[copy[order]].reset_index(drop=True)
    return cells, genes.assign(affected=gene[order], shift=shift[order])
