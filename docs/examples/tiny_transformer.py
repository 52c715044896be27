"""A model of one's own: a transformer over the expressed genes of a cell.

The weights are random numbers from a seed, where yours would come out of a file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import nn

from scfm_scverse.checkpoints import LoadReport, place
from scfm_scverse.genes import GeneMatch, place_names, resolve_genes
from scfm_scverse.io.safetensors import hash_tensors
from scfm_scverse.models import Columns, Encoded, GeneRows, ModelSpec, Wanted
from scfm_scverse.models.base import check_wanted
from scfm_scverse.nn import Copies, Encoder, Spans, unfilled
from scfm_scverse.tokens import LogValues, Tokens

GENES = np.array("ACTB B2M CCL5 CD14 CD19 CD3D CD3E CD74 CD79A CD8A CST3 CTSS FCN1 GAPDH GNLY IL32 IL7R LST1 LTB LYZ "
                 "MALAT1 MS4A1 NKG7 PF4 PPBP PRF1 S100A8 S100A9 TMSB4X TRAC TYROBP VIM".split())  # fmt: skip
DIM, LAYERS = 16, 2


class Network(nn.Module):
    """A vector for each gene, scaled by its value, then two layers of attention."""

    def __init__(self) -> None:
        super().__init__()
        self.genes = nn.Embedding(len(GENES), DIM)
        self.encoder = Encoder(LAYERS, DIM, n_heads=4, dim_hidden=32)

    def forward(self, tokens: Tokens, n_layers: int) -> tuple[torch.Tensor, Spans]:
        spans = Spans(tuple(tokens.lengths.tolist()))
        weight = self.genes.weight  # tells where to compute, and how precisely
        ids, values = torch.from_numpy(tokens.ids).to(weight.device), torch.from_numpy(tokens.values).to(weight)
        x = self.genes(ids.long()) * values[:, None]
        return self.encoder(x, spans, n_layers=n_layers), spans


class TinyTransformer:
    """What scfm-scverse asks of a model: seven things, none of which knows of AnnData."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        with unfilled():  # nothing is made that the weights replace
            network = Network()
        self._report = place(network, tensors, source="random numbers", layout="tiny transformer")
        self.network = Copies(network)
        self.gene_rows = resolve_genes(GENES.tolist()).rows
        self.spec = ModelSpec(
            name="tiny-transformer",
            version="0",
            weights_hash=hash_tensors({name: tensor.numpy() for name, tensor in tensors.items()}),
            genes=GENES,
            organism="human",
            dim=DIM,
            key_added="X_tiny",
            outputs=frozenset({"cell", "gene"}),
            needs_counts=False,
            licence="CC0-1.0",
            citation="none",
            description="Random weights that show how a model is added.",
            n_layers=LAYERS,
            poolings=("mean", "first"),
            minibatch_tokens=4096,
        )

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        return place_names(match, ids, GENES, self.gene_rows)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        return LogValues(columns.vocabulary, columns.counted, len(GENES), columns.base)

    @torch.inference_mode()
    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        check_wanted(self.spec, want)
        layers = LAYERS + 1 + (-1 if want.layer is None else want.layer)
        rows, spans = self.network.on(device, dtype)(minibatch, layers)
        cell = rows[spans.starts] if want.pooling == "first" else spans.mean(rows)
        gene = GeneRows(cell=spans.cells, gene=torch.from_numpy(minibatch.ids).long(), values=rows)
        return Encoded(
            cell=cell if "cell" in want.outputs else None,
            gene=gene if "gene" in want.outputs else None,
        )

    def gene_vectors(self) -> NDArray[np.float32]:
        return self.network.original.genes.weight.detach().numpy()

    def report(self) -> LoadReport:
        return self._report


def load() -> TinyTransformer:
    """Load the model: what the entry point names."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TinyTransformer(Network().state_dict())
