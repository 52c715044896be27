"""Scores of classes and of hidden genes, from networks with a head."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._errors import InputError
from ...nn import Spans
from .heads import CellClassifier, GeneClassifier, MaskedHead, MultiTaskHead
from .network import Network

if TYPE_CHECKING:
    from torch import Tensor


def cell_logits(network: Network, ids: Tensor, spans: Spans) -> list[Tensor]:
    """Score the classes of every cell: ids [t] -> [b, c], one for each task of the head.

    Raises
    ------
    InputError
        The network has no head of classes of cells.
    """
    head = network.head
    if isinstance(head, MultiTaskHead):
        return list(head(network(ids, spans), spans))
    return [class_logits(network, network(ids, spans, read=spans.starts.to(ids.device)))]


def class_logits(network: Network, first: Tensor) -> Tensor:
    """Score the classes of cells by the last layer's rows of their first tokens: [b, d] -> [b, c].

    Raises
    ------
    InputError
        The network has no head of classes of cells.
    """
    if not isinstance(network.head, CellClassifier):
        raise InputError(_other_head(network, "classes of cells"))
    out: Tensor = network.head(first)
    return out


def gene_logits(network: Network, ids: Tensor, spans: Spans) -> Tensor:
    """Score the classes of every token: ids [t] -> [t, c].

    Raises
    ------
    InputError
        The network has no head of classes of genes.
    """
    if not isinstance(network.head, GeneClassifier):
        raise InputError(_other_head(network, "classes of genes"))
    out: Tensor = network.head(network(ids, spans))
    return out


def masked_logits(network: Network, hidden: Tensor) -> Tensor:
    """Score every gene of the vocabulary for hidden states of the last layer: [t, d] -> [t, v].

    Raises
    ------
    InputError
        The network has no head of masked genes.
    """
    if not isinstance(network.head, MaskedHead):
        raise InputError(_other_head(network, "masked genes"))
    out: Tensor = network.head(hidden, network.word.weight)
    return out


def _other_head(network: Network, wanted: str) -> str:
    found = "no head" if network.head is None else f"the head {type(network.head).__name__}"
    return f"This checkpoint has {found}; expected one for {wanted}: load a checkpoint that was fine-tuned for them."
