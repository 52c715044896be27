"""What all cells share: a gene without counts goes into the first layer as the same vector in every cell."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn.favor import KeySums
from ...tokens import Tokens
from .network import Network

# Where the largest key of the shared rows is gone and the rest lies this far below it, the sums have lost digits.
_FAR = 3.0


@dataclass(frozen=True)
class EmptyCell:
    """A cell without counts: its rows before the first layer [t, d], and the sums of their keys there."""

    rows: Tensor
    sums: KeySums

    @classmethod
    def of(cls, network: Network) -> EmptyCell:
        """Compute it once for a network."""
        rows = network.embed(torch.zeros(len(network.gene_emb), dtype=torch.int64, device=network.gene_emb.device))
        return cls(rows, network.performer.stack[0].sum_keys(rows))

    def fill(self, network: Network, minibatch: Tokens) -> tuple[Tensor, list[KeySums]]:
        """Return what goes into the first layer, [b, t, d], and the sums of the keys of each cell there."""
        device, layer = self.rows.device, network.performer.stack[0]
        x = self.rows.repeat(len(minibatch), 1, 1)
        sums = []
        for cell, (start, stop) in enumerate(zip(minibatch.indptr[:-1], minibatch.indptr[1:], strict=True)):
            levels = torch.from_numpy(minibatch.values[start:stop]).to(device, torch.int64)
            positions = torch.from_numpy(minibatch.ids[start:stop]).to(device, torch.int64)[levels > 0]
            new = network.token_emb(levels[levels > 0]) + network.gene_emb[positions]
            x[cell, positions] = new
            found = self.sums
            if len(positions):
                found = found.exchange(positions, layer.sum_keys(self.rows[positions]), layer.sum_keys(new))
            lost = bool(found.largest.max() < found.taken - _FAR)
            sums.append(layer.sum_keys(x[cell]) if lost else found)
        return x, sums
