"""What the decoder says of every gene of the list, cell by cell."""

from __future__ import annotations

import torch
from torch import Tensor

from ...nn import Copies, state_of
from .decoder import Decoder
from .network import Embedding, put_rows
from .rows import AROUND, Rows


class Decoding:
    """The decoder where it is asked to compute, and the table of rows that are the same in every cell.

    Parameters
    ----------
    embedding, decoder
        Parts of the network, float32 on the CPU.
    original
        Run the cells of a minibatch together, their key maximum being taken over all of them.
    """

    def __init__(self, embedding: Copies[Embedding], decoder: Decoder, *, original: bool) -> None:
        self.embedding = embedding
        self.decoder = Copies(decoder)
        self.original = original
        if original:
            decoder.performer.as_published()
        self._table: tuple[object, Tensor] | None = None

    def filled(self, encoded: Tensor, rows: Rows) -> Tensor:
        """What goes into the decoder's first layer, [b, n_positions, d], of the encoder's rows [t, d]."""
        decoder = self.decoder.on(encoded.device, encoded.dtype)
        embedding = self.embedding.on(encoded.device, torch.float32)
        states = state_of(self.decoder.original), state_of(self.embedding.original)
        asked = (encoded.device, encoded.dtype, states)
        if self._table is None or self._table[0] != asked:
            self._table = asked, decoder.embed(embedding.zeros().to(encoded.dtype))
        put = put_rows(embedding, encoded, rows.positions, rows.spans)
        put = put._replace(vectors=put.vectors.to(encoded.dtype))
        return decoder.fill(self._table[1], put, len(rows.spans.lengths))

    def genes(self, filled: Tensor) -> Tensor:
        """Vectors of the genes of the list, [b, n_genes, d], T and S left out."""
        decoder = self.decoder.on(filled.device, filled.dtype)
        # One cell keeps the processor busy; several would only take more memory.
        groups = [filled] if self.original else [filled[cell : cell + 1] for cell in range(len(filled))]
        return torch.cat([decoder(group)[:, :-AROUND] for group in groups])

    def expression(self, vectors: Tensor) -> Tensor:
        """Log values at depth T, [b, n_genes], of vectors [b, n_genes, d]."""
        return self.decoder.on(vectors.device, vectors.dtype).expression(vectors)
