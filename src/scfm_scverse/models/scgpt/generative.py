"""scGPT as it was pre-trained: some genes of a cell are known, the expression of the others is asked for.

The known tokens attend to one another; a gene that is asked for attends to the known tokens and to itself, never to
another gene that is asked for. What it gathers does not pass the attention's output projection: the released weights
were trained so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, scaled_dot_product_attention

from ..._errors import InputError
from ...nn import EncoderLayer, Spans, attend
from ...nn.recompute import run_layer
from .losses import wide
from .network import ScgptNetwork


@dataclass(frozen=True)
class Question:
    """Genes of cells that are known, and genes that are asked for; cells stand one after the other in both.

    Attributes
    ----------
    ids, values, spans
        Known tokens, <cls> first in every cell: [t], [t], and where each cell's stand.
    asked_ids, asked_spans
        Genes that are asked for [a], and where each cell's stand; a cell may ask for none.
    """

    ids: Tensor
    values: Tensor
    spans: Spans
    asked_ids: Tensor
    asked_spans: Spans


@dataclass(frozen=True)
class Answer:
    """What the network says.

    Attributes
    ----------
    cell
        Vector of each cell [b, d].
    known, asked
        Expression of every token, from its row [t], [a].
    asked_nonzero
        Probability that a gene that is asked for is expressed [a]; ``None`` without that decoder.
    known_from_cell, asked_from_cell
        The same from the cell's vector; ``None`` without that decoder.
    """

    cell: Tensor
    known: Tensor
    asked: Tensor
    asked_nonzero: Tensor | None
    known_from_cell: Tensor | None
    asked_from_cell: Tensor | None


def generate(net: ScgptNetwork, question: Question, *, cell: Tensor | None = None) -> Answer:
    """Predict the genes that are asked for, in one pass.

    Parameters
    ----------
    net
        A network with the flag of genes to be generated.
    question
        What is known and what is asked for.
    cell
        Vectors of cells [b, d] that stand in place of what enters as the first known token: with <cls> as the only
        known token, a cell is generated from its vector alone.
    """
    return _answer(net, question, _vectors(net, question), cell)


def _answer(net: ScgptNetwork, question: Question, genes: Sequence[Tensor], cell: Tensor | None) -> Answer:
    known, asked = _encode(net, question, genes, net.config.n_layers, cell)
    vector = known[question.spans.starts]
    has = net.config.mvc is not None
    told = net.expression(asked, question.asked_spans)
    return Answer(
        cell=vector,
        known=net.expression(known, question.spans).value,
        asked=told.value,
        asked_nonzero=told.nonzero,
        known_from_cell=net.from_cell(vector, genes[0], question.spans).value if has else None,
        asked_from_cell=net.from_cell(vector, genes[1], question.asked_spans).value if has else None,
    )


def encode(
    net: ScgptNetwork, question: Question, *, n_layers: int, cell: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Rows of the known tokens [t, d] and of the genes that are asked for [a, d], after ``n_layers`` layers.

    Raises
    ------
    InputError
        The network has no flag of genes to be generated: it was fine-tuned for something else.
    """
    return _encode(net, question, _vectors(net, question), n_layers, cell)


def check_flags(net: ScgptNetwork) -> None:
    """Stop where a network cannot be asked for genes; see :func:`encode`."""
    if not net.config.flags:
        msg = "Found a scGPT network without flag_encoder; expected a pre-trained one, which can be asked for genes."
        raise InputError(msg)


def _vectors(net: ScgptNetwork, question: Question) -> tuple[Tensor, ...]:
    """Vectors of the known genes [t, d] and of those that are asked for [a, d]."""
    # Looked up at once: each look-up has a gradient as large as the whole table.
    both: Tensor = net.encoder(torch.cat([question.ids, question.asked_ids]))
    return torch.split(both, [len(question.ids), len(question.asked_ids)])


def _encode(
    net: ScgptNetwork, question: Question, genes: Sequence[Tensor], n_layers: int, cell: Tensor | None
) -> tuple[Tensor, Tensor]:
    check_flags(net)
    known = net.embed(genes[0], question.values)
    asked = net.embed(genes[1] + net.flag_encoder.weight[1], None)
    if cell is not None:
        known = known.index_copy(0, question.spans.starts.to(known.device), cell)
    encoder = net.transformer_encoder
    for layer in cast(Sequence[EncoderLayer], list(encoder.layers)[:n_layers]):
        known, asked = run_layer(partial(_through, layer), known, asked, question, recompute=encoder.recompute)
    return known, asked


def _through(layer: EncoderLayer, known: Tensor, asked: Tensor, question: Question) -> tuple[Tensor, Tensor]:
    query, key, value = layer.project(known)
    share = layer.attention_dropout if layer.training else 0.0
    after = layer.finish(known, layer.out_proj(attend(query, key, value, question.spans, dropout=share)))
    if not len(asked):
        return after, asked
    own = layer.project(asked)
    gathered = [
        _attend_to_known_and_itself(key[rows], value[rows], [one[asked_rows] for one in own], share)
        for rows, asked_rows in _cells(question)
    ]
    return after, layer.finish(asked, torch.cat(gathered))


def _attend_to_known_and_itself(key: Tensor, value: Tensor, own: Sequence[Tensor], dropout: float) -> Tensor:
    """Attention of the genes that one cell asks for, by their own queries, keys and values [a, h, d] -> [a, h * d]."""
    query, own_key, own_value = own
    itself = torch.eye(len(query), dtype=torch.bool, device=query.device)
    visible = torch.cat([itself.new_ones(len(query), len(key)), itself], dim=1)
    keys, values = (torch.cat(parts).transpose(0, 1) for parts in ((key, own_key), (value, own_value)))
    # As a minibatch of one, without which torch keeps the whole matrix of weights for the gradient.
    q, k, v = (one[None] for one in (query.transpose(0, 1), keys, values))
    found = scaled_dot_product_attention(q, k, v, attn_mask=visible, dropout_p=dropout)[0]
    return found.transpose(0, 1).flatten(1)


def _cells(question: Question) -> Iterator[tuple[slice, slice]]:
    """Rows of each cell among the known tokens and among those that are asked for."""
    row = asked_row = 0
    for length, asked_length in zip(question.spans.lengths, question.asked_spans.lengths, strict=True):
        yield slice(row, row + length), slice(asked_row, asked_row + asked_length)
        row, asked_row = row + length, asked_row + asked_length


def generative_losses(net: ScgptNetwork, question: Question, target: Tensor, *, from_vector: bool) -> dict[str, Tensor]:
    """Parts of the loss that scGPT was pre-trained with; their sum is minimised.

    Parameters
    ----------
    net, question
        The network, what is known and what is asked for.
    target
        True values of the genes that are asked for [a].
    from_vector
        Whether to ask a second time, with the cell's vector of the first pass, held fixed, in place of <cls>; the
        authors do after 1,000 steps.

    Returns
    -------
    Mean squared errors: ``"expression"`` from the tokens' rows, ``"from_cell"`` from the cells' vectors and, with
    ``from_vector``, ``"from_vector"`` of the second pass.
    """
    genes, target = _vectors(net, question), wide(target)
    answer = _answer(net, question, genes, None)
    losses = {"expression": mse_loss(wide(answer.asked), target)}
    if answer.asked_from_cell is not None:
        losses["from_cell"] = mse_loss(wide(answer.asked_from_cell), target)
    if from_vector:
        again = _answer(net, question, genes, answer.cell.detach())
        losses["from_vector"] = mse_loss(wide(again.asked), target)
    return losses


def ask(ids: Tensor, values: Tensor, spans: Spans, asked: Tensor) -> tuple[Question, Tensor]:
    """Ask for some of the tokens of cells, bool [t]; return the question, and the true values of these [a]."""
    n_asked = torch.zeros(len(spans.lengths), dtype=torch.int64).index_add(0, spans.cells, asked.long().cpu())
    lengths = torch.tensor(spans.lengths)
    question = Question(
        ids=ids[~asked],
        values=values[~asked],
        spans=Spans(tuple((lengths - n_asked).tolist())),
        asked_ids=ids[asked],
        asked_spans=Spans(tuple(n_asked.tolist())),
    )
    return question, values[asked]


def split(
    ids: Tensor, values: Tensor, spans: Spans, share: float, *, max_length: int, generator: torch.Generator
) -> tuple[Question, Tensor]:
    """Split the tokens of cells at random into known ones and ones to ask for.

    Parameters
    ----------
    ids, values, spans
        Tokens of cells, <cls> first in every cell, [t].
    share
        Share of each cell's genes that is asked for; the authors draw 0.25, 0.5 or 0.75 anew for every minibatch.
    max_length
        Tokens that a cell may have; of a longer one some are drawn.
    generator
        Source of the draws, in the order of the cells.

    Returns
    -------
    The question, and the true values of the genes that it asks for [a].
    """
    n_asked = int((max_length - 1) * share)
    known, asked, row = [], [], 0
    for length in spans.lengths:
        order = row + 1 + torch.randperm(length - 1, generator=generator)
        row_of_cls = torch.tensor([row])
        cut = int((length - 1) * share)
        known.append(_drawn(torch.cat([row_of_cls, order[cut:]]), max_length - n_asked, generator))
        asked.append(_drawn(order[:cut], n_asked, generator))
        row += length
    kept, wanted = torch.cat(known), torch.cat(asked)
    question = Question(
        ids=ids[kept],
        values=values[kept],
        spans=Spans(tuple(map(len, known))),
        asked_ids=ids[wanted],
        asked_spans=Spans(tuple(map(len, asked))),
    )
    return question, values[wanted]


def _drawn(rows: Tensor, n: int, generator: torch.Generator) -> Tensor:
    """Return the first row and others drawn at random, ``n`` in all, or all if there are no more."""
    if len(rows) <= n or n == 0:
        return rows[:n]
    chosen = torch.randperm(len(rows) - 1, generator=generator)[: n - 1]
    return torch.cat([rows[:1], rows[1:][chosen]])
