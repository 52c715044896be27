"""What the deletion of every gene does, estimated to first order: a few passes a cell, not one for each gene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ..inference.buckets import minibatches, token_budget
from ..inference.device import choose_device, cpu_threads
from ..models import Encoded, GeneRows
from ..models.base import Sensitive
from ..tokens import Tokens
from .copies import special_tokens
from .effects import Reading

if TYPE_CHECKING:
    import torch

KEPT = 8  # what the way back needs is kept of every layer, so that fewer tokens go through the network together


@dataclass(frozen=True)
class FirstOrder:
    """Estimates for the genes of a vocabulary, summed over the cells that hold them.

    Attributes
    ----------
    total
        float64 [v]: sum of the estimates.
    n_cells
        int64 [v]: cells that hold the gene.
    """

    total: NDArray[np.float64]
    n_cells: NDArray[np.int64]

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean over the cells that hold the gene [v], NaN where none does.

        Shifts of several genes that are deleted together add up, to first order.
        """
        empty = np.full(len(self.total), np.nan)
        return np.asarray(np.divide(self.total, self.n_cells, out=empty, where=self.n_cells > 0))

    def __add__(self, other: FirstOrder) -> FirstOrder:
        """Add up the sums of different cells."""
        return FirstOrder(self.total + other.total, self.n_cells + other.n_cells)


def first_order(
    model: Sensitive,
    tokens: Tokens,
    reading: Reading,
    *,
    goal: int | None = None,
    n_directions: int = 8,
    random_state: int = 0,
    device: str = "auto",
    advance: Callable[[int], object] = lambda _: None,
) -> FirstOrder:
    """Estimate what the deletion of each gene does to the cells that hold it, in float32.

    Parameters
    ----------
    model
        The model.
    tokens
        Tokens of the cells.
    reading
        How copies would be compared with cells.
    goal
        Which state of the reading: estimate the change of the cosine to it. ``None`` estimates the effect, one minus
        the cosine to the cell itself: it has no slope, so its second order is put together from derivatives along
        random directions across the cell's vector (of the vectors of its genes, where these are compared).
    n_directions
        How many random directions; a single cell's estimate has a relative error of ``sqrt(2 / n_directions)``.
    random_state
        Where random numbers begin.
    device
        Where the model computes.
    advance
        Called with the number of cells just done.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.perturbation import Reading
    >>> from scfm_scverse.perturbation.first_order import first_order
    >>> model = scfm.models.load("Geneformer-V2-104M")  # doctest: +SKIP
    >>> estimate = first_order(model, tokens, Reading(states=states), goal=0).mean  # doctest: +SKIP
    """
    import torch

    where, n_genes = choose_device(device), len(model.spec.genes)
    budget = max(1, token_budget(model.spec.minibatch_tokens, where) // KEPT)
    rng, is_gene = torch.Generator().manual_seed(random_state), ~special_tokens(model.spec)
    total, n_cells = np.zeros(n_genes), np.zeros(n_genes, np.int64)
    states = reading.states
    state = None if goal is None or states is None else torch.from_numpy(states[goal]).to(where)
    by_gene = state is None and reading.compare == "genes"
    want = Reading("genes" if by_gene else "cell", pooling=reading.pooling, layer=reading.layer).wanted

    def scores(encoded: Encoded) -> torch.Tensor:
        return _scores(encoded, state, n_directions, rng, by_gene=by_gene)

    cells = np.flatnonzero(tokens.lengths > 0)
    with cpu_threads():
        for group in minibatches(tokens.lengths[cells], token_budget=budget):
            some = tokens.take(cells[group])
            change = model.sensitivity(some, want, scores, device=where).double().cpu().numpy()
            told = change[0] if state is not None else 0.5 * (change**2).mean(axis=0)
            if by_gene:
                told /= np.repeat(np.add.reduceat(is_gene[some.ids], some.indptr[:-1]), some.lengths)
            kept = is_gene[some.ids]
            total += np.bincount(some.ids[kept], weights=told[kept], minlength=n_genes)
            n_cells += np.bincount(some.ids[kept], minlength=n_genes)
            advance(len(group))
    return FirstOrder(total, n_cells)


def _scores(
    encoded: Encoded, goal: torch.Tensor | None, n_directions: int, rng: torch.Generator, *, by_gene: bool
) -> torch.Tensor:
    """Numbers [k] whose derivatives are wanted: the cosines to the goal, or vectors along random directions."""
    import torch
    from torch.nn.functional import cosine_similarity

    vectors = cast("torch.Tensor", cast(GeneRows, encoded.gene).values if by_gene else encoded.cell)
    if goal is not None:
        return cosine_similarity(vectors, goal[None]).sum()[None]
    fixed = vectors.detach()
    length = fixed.norm(dim=-1, keepdim=True)
    drawn = torch.randn((n_directions, *fixed.shape), generator=rng).to(fixed.device)
    along = (drawn * fixed).sum(-1, keepdim=True) / length**2
    numbers: torch.Tensor = ((drawn - along * fixed) / length * vectors).sum((1, 2))
    return numbers
