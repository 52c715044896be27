"""scGPT as it was pre-trained: some genes of a cell are known, the expression of the others is asked for.

The known tokens attend to one another; a gene that is asked for attends to the known tokens and to itself, never to
another gene that is asked for. What it gathers does not pass the attention's output projection: the released weights
were trained so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import mse_loss, scaled_dot_product_attention

from ..._errors import InputError
from ...nn import EncoderLayer, Spans, attend
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
    known_from_cell, asked_from_cell
        The same from the cell's vector; ``None`` without that decoder.
    """

    cell: Tensor
    known: Tensor
    asked: Tensor
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
    known_genes, asked_genes = net.encoder(question.ids), net.encoder(question.asked_ids)
    known, asked = encode(net, question, n_layers=net.config.n_layers, cell=cell)
    vector = known[question.spans.starts]
    has = net.config.mvc is not None
    return Answer(
        cell=vector,
        known=net.expression(known, question.spans).value,
        asked=net.expression(asked, question.asked_spans).value,
        known_from_cell=net.from_cell(vector, known_genes, question.spans).value if has else None,
        asked_from_cell=net.from_cell(vector, asked_genes, question.asked_spans).value if has else None,
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
    if not net.config.flags:
        msg = "Found a scGPT network without flag_encoder; expected a pre-trained one, which can be asked for genes."
        raise InputError(msg)
    known = net.embed(net.encoder(question.ids), question.values)
    asked = net.embed(net.encoder(question.asked_ids) + net.flag_encoder.weight[1], None)
    if cell is not None:
        known = known.index_copy(0, question.spans.starts.to(known.device), cell)
    for layer in list(net.transformer_encoder.layers)[:n_layers]:
        known, asked = _through(cast(EncoderLayer, layer), known, asked, question)
    return known, asked


def _through(layer: EncoderLayer, known: Tensor, asked: Tensor, question: Question) -> tuple[Tensor, Tensor]:
    query, key, value = layer.project(known)
    share = layer.dropout if layer.training else 0.0
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
    found = scaled_dot_product_attention(query.transpose(0, 1), keys, values, attn_mask=visible, dropout_p=dropout)
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
    answer = generate(net, question)
    losses = {"expression": mse_loss(answer.asked, target)}
    if answer.asked_from_cell is not None:
        losses["from_cell"] = mse_loss(answer.asked_from_cell, target)
    if from_vector:
        losses["from_vector"] = mse_loss(generate(net, question, cell=answer.cell.detach()).asked, target)
    return losses


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
