"""Genes of cells generated in several rounds: what is surest is known in the next round."""

from __future__ import annotations

import torch
from torch import Tensor

from ..._errors import InputError
from ...nn import Spans
from .generative import Question, generate
from .network import ScgptNetwork


def generate_in_rounds(net: ScgptNetwork, question: Question, *, rounds: int = 1, cell: Tensor | None = None) -> Tensor:
    """Predict the genes that are asked for, in several rounds.

    In each round all genes that are left are predicted; the same share of a cell's genes, those that the network is
    surest of, are known from then on with the values predicted. The authors describe this and do not say what sure is:
    here it is how far the probability of being above zero is from a half, and where the network has none the size of
    the prediction.

    Parameters
    ----------
    net
        A network with the flag of genes to be generated, whose values are numbers.
    question
        What is known and what is asked for.
    rounds
        In how many rounds; 1 is :func:`~.generative.generate`.
    cell
        Vectors of cells [b, d] that stand in place of what enters as the first known token.

    Returns
    -------
    Expression of the genes that are asked for [a].

    Raises
    ------
    InputError
        No round, or a network that cannot be asked for genes or does not read what it predicts.

    References
    ----------
    Cui et al. scGPT: toward building a foundation model for single-cell multi-omics using generative AI. Nature
    Methods 21, 1470-1480 (2024).
    """
    if rounds < 1:
        msg = f"Found rounds={rounds}; expected 1 at least."
        raise InputError(msg)
    if rounds > 1 and net.config.value_style != "continuous":
        msg = (
            f"Found a scGPT network of values by {net.config.value_style}, which does not read what it predicts; "
            "expected rounds=1."
        )
        raise InputError(msg)
    told = question.values.new_zeros(len(question.asked_ids))
    left = torch.ones(len(told), dtype=torch.bool)
    with torch.inference_mode():
        for rounds_left in range(rounds, 0, -1):
            answer = generate(net, _with_known(question, told, left), cell=cell)
            told[left] = answer.asked
            nonzero = answer.asked_nonzero
            sure = answer.asked.abs() if nonzero is None else (nonzero - 0.5).abs()
            left[left.clone()] = ~_surest(sure, question.asked_spans.cells[left], rounds_left)
    return told


def _surest(sure: Tensor, cells: Tensor, rounds_left: int) -> Tensor:
    """Whether a gene is among the surest of its cell [a], so many that all are when no round is left."""
    order = torch.argsort(sure.cpu(), descending=True, stable=True)
    order = order[torch.argsort(cells[order], stable=True)]
    counts = torch.bincount(cells)
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[cells[order]]
    return place * rounds_left < counts[cells]


def _with_known(question: Question, told: Tensor, left: Tensor) -> Question:
    """Take the genes that are no longer left for known, behind the known ones of their cell."""
    cells = torch.cat([question.spans.cells, question.asked_spans.cells[~left]])
    order = torch.argsort(cells, stable=True)
    n_cells = len(question.spans.lengths)
    # Values below zero stand for what is hidden and for padding.
    values = torch.cat([question.values, told[~left].clamp(min=0)])
    return Question(
        ids=torch.cat([question.ids, question.asked_ids[~left]])[order],
        values=values[order],
        spans=_spans(cells, n_cells),
        asked_ids=question.asked_ids[left],
        asked_spans=_spans(question.asked_spans.cells[left], n_cells),
    )


def _spans(cells: Tensor, n_cells: int) -> Spans:
    return Spans(tuple(torch.bincount(cells, minlength=n_cells).tolist()))
