"""What a model says of edited copies of cells beside what it says of the cells.

Without states a shift is a cosine: 1 is no effect. With states it is the change of the cosine to a state: 0 is no
effect, and above 0 is towards the state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ..inference.device import Dtype
from ..models import CellModel, GeneRows, Wanted
from ..models.base import Output
from .copies import Copies, Mode
from .pairs import Edits, Pairs, stream_pairs


@dataclass(frozen=True)
class Reading:
    """What is read of the model, and how a copy is compared with its cell.

    Attributes
    ----------
    compare
        ``"cell"`` compares the vectors of the cells, ``"genes"`` those of each gene that is in both and was not
        perturbed, and takes the mean (Geneformer V1's rule).
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
        outputs: set[Output] = set()
        if self.compare == "cell" or self.states is not None:
            outputs.add("cell")
        if self.compare == "genes" or self.genes:
            outputs.add("gene")
        return Wanted(frozenset(outputs), layer=self.layer, pooling=self.pooling)


@dataclass(frozen=True)
class Shifts:
    """Shifts of some copies and of genes in them.

    Attributes
    ----------
    copy
        int64 [b]: which copies.
    similarity
        float32 [b]: cosine of the copy to its cell, or mean cosine of its genes; NaN where nothing is left to compare.
    to_states
        float32 [b, s]: change of the cosine to each state.
    gene_copy, gene, gene_shift
        int64 [k], int32 [k], float32 [k]: copy, gene and cosine of each gene that is read, empty if none is.
    """

    copy: NDArray[np.int64]
    similarity: NDArray[np.float32]
    to_states: NDArray[np.float32]
    gene_copy: NDArray[np.int64]
    gene: NDArray[np.int32]
    gene_shift: NDArray[np.float32]


def stream_shifts(
    model: CellModel,
    edits: Edits,
    copies: Copies,
    reading: Reading,
    *,
    mode: Mode = "default",
    device: str = "auto",
    dtype: Dtype = "float32",
    batch_size: int | None = None,
    advance: Callable[[int], object] = lambda _: None,
) -> Iterator[Shifts]:
    """Run a model over edited copies of cells and compare each with its cell, minibatch after minibatch.

    Parameters
    ----------
    model
        The model.
    edits
        The cells and how copies are made: :class:`CountEdits` or :class:`TokenEdits`.
    copies
        Which copies, from :func:`perturb_each` or :func:`perturb_together`.
    reading
        What is read of them.
    mode
        ``"original"`` names the genes that overexpression affects one place off, where Geneformer's program does.
    device, dtype
        Where and how precisely the model computes. Small differences of cosines need float32.
    batch_size
        Copies that go through the model together at most; ``None`` cuts by tokens alone.
    advance
        Called with the number of copies just done.

    Yields
    ------
    Shifts of the copies of a minibatch; together every copy once, those of one cell one after the other.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.perturbation import Reading, TokenEdits, perturb_each, shift_tables, special_tokens
    >>> from scfm_scverse.perturbation import stream_shifts
    >>> model = scfm.models.load("Geneformer-V2-104M")  # doctest: +SKIP
    >>> special = special_tokens(model.spec)  # doctest: +SKIP
    >>> copies = perturb_each(tokens, "delete", special)  # doctest: +SKIP
    >>> edits = TokenEdits(tokens, special, context=4096)  # doctest: +SKIP
    >>> cells, _ = shift_tables(copies, stream_shifts(model, edits, copies, Reading()))  # doctest: +SKIP

    References
    ----------
    Theodoris et al. (2023), Nature 618, 616-624.
    """
    displaces = mode == "original" and copies.kind == "overexpress" and copies.each
    stream = stream_pairs(
        model, edits, copies, reading.wanted, device=device, dtype=dtype, batch_size=batch_size, advance=advance
    )
    for pairs in stream:
        yield compare_pairs(pairs, copies.genes[pairs.copy], reading, displaces=displaces)


def compare_pairs(pairs: Pairs, perturbed: NDArray[np.int32], reading: Reading, *, displaces: bool = False) -> Shifts:
    """Compare copies with their cells; ``perturbed`` [b, k] are the genes that were perturbed in each copy.

    ``displaces`` gives each gene's shift the name of the next one, as Geneformer's program does.
    """
    import torch

    from .compare import cell_similarity, displaced, gene_shifts, mean_of_genes, state_shifts

    n, edited, original = len(pairs.copy), pairs.edited, pairs.original
    similarity, to_states = torch.full((n,), torch.nan), torch.zeros(n, 0)
    none = torch.zeros(0, dtype=torch.int64)
    genes = GeneRows(none, none, torch.zeros(0))
    if edited.gene is not None and original.gene is not None:
        found = gene_shifts(edited.gene, original.gene, pairs.of, torch.from_numpy(perturbed).to(pairs.of.device))
        genes = found if reading.genes else genes
        if reading.compare == "genes":
            similarity = mean_of_genes(found, n)
    if edited.cell is not None and original.cell is not None:
        if reading.compare == "cell":
            similarity = cell_similarity(edited.cell, original.cell, pairs.of)
        if reading.states is not None:
            states = torch.from_numpy(reading.states).to(pairs.of.device)
            to_states = state_shifts(edited.cell, original.cell, pairs.of, states)
    named = displaced(genes) if displaces else genes
    return Shifts(
        copy=pairs.copy,
        similarity=similarity.cpu().numpy(),
        to_states=to_states.cpu().numpy(),
        gene_copy=pairs.copy[named.cell.cpu().numpy()],
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
        values[part.copy] = part.to_states if states else part.similarity[:, None]
    for at, name in enumerate(states or ("shift",)):
        cells[name] = values[:, at]
    copy, gene, shift = (
        np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, np.int64)
        for name in ("gene_copy", "gene", "gene_shift")
    )
    order = np.argsort(copy, kind="stable")
    genes = cells[["perturbed", "cell"]].iloc[copy[order]].reset_index(drop=True)
    return cells, genes.assign(affected=gene[order], shift=shift[order])
