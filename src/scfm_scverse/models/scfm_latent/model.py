"""The latent transformer behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...checkpoints import LoadReport
from ...genes import GeneMatch, place_names, resolve_genes
from ...nn import Copies
from ...tokens import LogValues, Tokens
from ..base import Columns, Encoded, GeneRows, ModelSpec, Wanted, check_wanted
from ..readout import panel_rows
from ..seeded import seeded
from ..trainable import Pass
from .files import spec_of, write_folder
from .network import LatentNetwork, with_classes
from .reading import LatentPass, tensors_of

AT_ONCE = 2**15  # pairs of a cell and a gene that are decoded together


class ScfmLatent:
    """A latent transformer.

    Attributes
    ----------
    network
        The network in float32.
    spec
        What it is.
    """

    def __init__(self, network: LatentNetwork, spec: ModelSpec, loaded: LoadReport) -> None:
        self.network = network
        self.spec = spec
        self._loaded = loaded
        self._copies = Copies(network)

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        return resolve_genes(self.spec.genes.tolist(), organism=self.spec.organism).rows.astype(np.int32)

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        return place_names(match, ids, self.spec.genes, self.gene_rows)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the tokeniser of a matrix with these columns."""
        return LogValues(columns.vocabulary, columns.counted, n_genes=len(self.spec.genes), base=columns.base)

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector of each gene, [v, d]."""
        vectors: NDArray[np.float32] = self.network.genes.weight.detach().float().cpu().numpy()
        return vectors

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return self._loaded

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Return vectors of cells [b, d] and of expressed genes in cells, and expression of the whole vocabulary.

        Expression is the expected logarithm of one plus counts per 10,000, for genes that the data did not measure too.
        """
        check_wanted(self.spec, want)
        network = self._copies.on(device, dtype)
        ids, values = tensors_of(minibatch, device)
        lengths = tuple(minibatch.lengths.tolist())
        gene = expression = None
        with torch.inference_mode():
            memory = network(ids, values, lengths)
            if "gene" in want.outputs:
                cells = torch.arange(len(lengths), device=device).repeat_interleave(torch.tensor(lengths).to(device))
                gene = GeneRows(cells, ids, network.rows(memory, ids, lengths))
            if "expression" in want.outputs:
                expression = panel_rows(expression_of(network, memory))
        return Encoded(cell=memory[:, 0].float() if "cell" in want.outputs else None, gene=gene, expression=expression)

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:  # noqa: ARG002 (all are one to it)
        """Run the network on the tokens whose values are not negative, one in each cell at least, with gradients."""
        return LatentPass(self.network, minibatch)

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network a linear map from the vector of a cell to ``n`` classes."""
        with seeded(seed):
            with_classes(self.network, n)

    def class_logits(self, seen: Pass) -> Tensor:
        """Score the classes of every cell, [b, n]."""
        return cast(Tensor, self.network.classes(seen.cell))

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = spec_of(self.network, self.spec.genes, self.spec.organism)

    def write(self, folder: Path) -> None:
        """Write ``config.json``, ``genes.txt`` and ``model.safetensors``."""
        write_folder(self.network, self.spec, folder)


def expression_of(network: LatentNetwork, memory: Tensor) -> Tensor:
    """Expected value of every gene of the vocabulary in every cell, float32 [b, v], some genes at a time."""
    n_cells, parts = len(memory), []
    for genes in torch.split(torch.arange(network.sizes.n_genes, device=memory.device), max(1, AT_ONCE // n_cells)):
        told = network.tell(memory, genes.repeat(n_cells), (len(genes),) * n_cells)
        parts.append(told.expected.view(n_cells, -1))
    return torch.cat(parts, dim=1)
