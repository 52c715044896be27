"""The decoder: linear attention over all positions, expressed or not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from ...nn import Performer


@dataclass(frozen=True)
class DecoderSizes:
    """Sizes of the decoder: width, layers, heads and their width, which together may be another than the first."""

    dim: int
    n_layers: int
    n_heads: int
    dim_head: int


class PutRows(NamedTuple):
    """Rows in which a cell differs from all others: vectors [k, d], cells and positions [k]."""

    vectors: Tensor
    cells: Tensor
    positions: Tensor


class Decoder(nn.Module):
    """From the encoder's rows to a vector, and a number, for every position."""

    def __init__(self, dim: int, sizes: DecoderSizes) -> None:
        super().__init__()
        self.embed = nn.Linear(dim, sizes.dim)
        self.performer = Performer(sizes.n_layers, sizes.dim, sizes.n_heads, sizes.dim_head, 4 * sizes.dim, bias=True)
        self.norm1 = nn.LayerNorm(sizes.dim)
        self.norm2 = nn.LayerNorm(sizes.dim)
        self.to_final = nn.Linear(sizes.dim, 1)

    def fill(self, table: Tensor, put: PutRows, n_cells: int) -> Tensor:
        """Put the rows of each cell into the table of those that are the same in all, [b, n_positions, d].

        Parameters
        ----------
        table
            What ``embed`` makes of genes that are not expressed, [n_positions, d]: once a model, not once a cell.
        put
            Rows before ``embed``.
        n_cells
            Number of cells.
        """
        rows = self.embed(put.vectors)
        return table.expand(n_cells, -1, -1).index_put((put.cells, put.positions), rows)

    def forward(self, filled: Tensor) -> Tensor:
        """Vectors of all positions, [b, n_positions, d]."""
        out: Tensor = self.norm2(self.norm1(self.performer(filled)))
        return out

    def expression(self, vectors: Tensor) -> Tensor:
        """Log values of all positions at the depth T, [b, n_positions]."""
        numbers: Tensor = self.to_final(vectors).squeeze(-1)
        return numbers
