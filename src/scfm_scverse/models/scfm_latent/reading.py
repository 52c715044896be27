"""A pass through the network, which can be asked for genes."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ...tokens import Tokens
from ..trainable import Pass
from .decoder import Told
from .network import LatentNetwork

HIDDEN = -1.0  # value of a token that its cell has and the network is not shown


class LatentPass(Pass):
    """What the network made of the tokens that it was shown; no gene is decoded before somebody asks.

    Attributes
    ----------
    memory
        Latents of the cells, the first of which is the vector of the cell, [b, m, d].
    """

    def __init__(self, network: LatentNetwork, minibatch: Tokens) -> None:
        ids, values = tensors_of(minibatch, network.genes.weight.device)
        shown = minibatch.values >= 0
        kept = torch.from_numpy(np.flatnonzero(shown)).to(ids.device)
        n_shown = np.add.reduceat(shown, minibatch.indptr[:-1], dtype=np.int64)
        memory = network(ids[kept], values[kept], tuple(n_shown.tolist()))
        lengths = tuple(minibatch.lengths.tolist())
        # The class is frozen.
        vars(self).update(network=network, ids=ids, lengths=lengths, memory=memory, cell=memory[:, 0])

    network: LatentNetwork
    ids: Tensor
    lengths: tuple[int, ...]
    memory: Tensor

    @cached_property
    def rows(self) -> Tensor:
        """What each gene that has a token is in its cell, hidden or not, [t, d]."""
        return self.network.rows(self.memory, self.ids, self.lengths)

    def tell(self, genes: Tensor, lengths: tuple[int, ...], *, from_cell: bool = False) -> Told:
        """Ask for any genes of the vocabulary.

        Parameters
        ----------
        genes
            int64 [k]: positions in the vocabulary, one cell after the other.
        lengths
            How many genes each cell is asked for, [b].
        from_cell
            Ask the vector of the cell alone.
        """
        return self.network.tell(self.memory[:, :1] if from_cell else self.memory, genes, lengths)


def tensors_of(minibatch: Tokens, device: torch.device) -> tuple[Tensor, Tensor]:
    """Genes and values of the tokens, int64 [t] and float32 [t]."""
    return torch.from_numpy(minibatch.ids.astype(np.int64)).to(device), torch.from_numpy(minibatch.values).to(device)
