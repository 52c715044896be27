"""Geneformer behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from ...checkpoints import LoadReport
from ...genes import GeneMatch
from ...nn import Copies, Spans
from ...tokens import Tokens
from ...tokens.ranks import Ranks
from ..base import Columns, Encoded, GeneRows, ModelSpec, Wanted, check_wanted
from ..readout import attention_rows
from ..trainable import Pass
from .classify import cell_logits, class_logits, gene_logits
from .dictionaries import Dictionaries
from .names import merges, original_slots, place_genes, place_originally, rows_of_genes
from .network import Network
from .spec import spec_of
from .training import new_class_head, write_geneformer

CLS, EOS = 2, 3  # tokens around the genes of a cell in V2
AUTHORS_LAYER = -2  # "emb_layer=-1" of the authors: the last but one


class Geneformer:
    """A Geneformer checkpoint: pretrained, or fine-tuned with a head of classes."""

    def __init__(
        self,
        network: Network,
        spec: ModelSpec,
        dictionaries: Dictionaries,
        loaded: LoadReport,
        mode: Literal["default", "original"],
        classes: tuple[str, ...],
    ) -> None:
        self.network = network
        self.spec = spec
        self.dictionaries = dictionaries
        self.mode = mode
        self.classes = classes
        self._loaded = loaded
        self._copies = Copies(network)

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        return rows_of_genes(self.spec.genes)

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        if self.mode == "original":
            return place_originally(ids or match.names, self.dictionaries)
        return place_genes(match, ids, self.dictionaries, self.gene_rows)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the tokeniser of a matrix with these columns."""
        known = self.dictionaries
        if self.mode == "original":
            slots, genes = original_slots(columns.vocabulary, merge=merges(columns.names, known))
        else:
            slots, genes = columns.vocabulary, np.arange(len(known.genes), dtype=np.int32)
        return Ranks(
            columns=slots,
            genes=genes,
            medians=known.medians[genes],
            n_genes=len(known.genes),
            context=self.network.position.num_embeddings,
            around=(CLS, EOS) if known.version == "V2" else None,
            base=columns.base,
            keep_zeros=self.mode == "original",
        )

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the word embedding of each gene, [v, d]."""
        return self.network.word.weight.detach().numpy().copy()

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return self._loaded

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Return vectors of cells [b, d], of genes in cells, attention between genes.

        Special tokens have no vector of a gene, and count in no mean.
        """
        check_wanted(self.spec, want)
        network, ids, spans = self.prepare(minibatch, device, dtype)
        n_layers = self.spec.n_layers + 1 + (AUTHORS_LAYER if want.layer is None else want.layer)
        first_only = (want.pooling or self.spec.poolings[0]) == "cls" and "gene" not in want.outputs
        cell = gene = attention = None
        with torch.inference_mode():
            if want.outputs & {"cell", "gene"}:
                read = spans.starts.to(device) if first_only else None
                hidden = network(ids, spans, n_layers=n_layers, read=read)
                if "cell" in want.outputs:
                    cell = hidden if first_only else self._pool(hidden, ids, spans, want.pooling)
                if "gene" in want.outputs:
                    gene = self._gene_rows(hidden, ids, spans)
            if "attention" in want.outputs and want.attention is not None:
                attention = attention_rows(network.encoder, network.embed(ids, spans), ids, spans, want.attention)
        return Encoded(cell=cell, gene=gene, attention=attention)

    def sensitivity(
        self, minibatch: Tokens, want: Wanted, scores: Callable[[Encoded], torch.Tensor], *, device: torch.device
    ) -> torch.Tensor:
        """Return the change of each score, to first order, as each token is taken out of its cell, [k, t]."""
        from .sensitivity import sensitivity

        check_wanted(self.spec, want)
        network, ids, spans = self.prepare(minibatch, device, torch.float32)
        n_layers = self.spec.n_layers + 1 + (AUTHORS_LAYER if want.layer is None else want.layer)
        special, cls = self._special.to(device)[ids], (want.pooling or self.spec.poolings[0]) == "cls"
        return sensitivity(network, ids, spans, special, scores, n_layers=n_layers, cls=cls)

    def run(self, minibatch: Tokens, *, batches: torch.Tensor | None = None) -> Pass:  # noqa: ARG002 (of the protocol)
        """Rows of the last layer [t, d], and those of the first token of each cell [b, d], with gradients."""
        ids = torch.from_numpy(minibatch.ids.astype(np.int64)).to(self.network.word.weight.device)
        spans = Spans(tuple(minibatch.lengths.tolist()))
        rows = self.network(ids, spans)
        return Pass(cell=rows[spans.starts.to(rows.device)], rows=rows)

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network a pooler and scores of ``n`` classes, in place of the head of masked genes."""
        self.network.head = new_class_head(self.network, n, seed)
        self.classes = tuple(f"LABEL_{at}" for at in range(n))

    def class_logits(self, seen: Pass) -> torch.Tensor:
        """Score the classes of every cell, [b, n]."""
        return class_logits(self.network, seen.cell)

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = spec_of(self.network, self.dictionaries, self.mode, self.spec.licence)

    def write(self, folder: Path) -> None:
        """Write the layout that the authors release, and the dictionaries as JSON."""
        write_geneformer(self, folder)

    def predict_classes(
        self, minibatch: Tokens, *, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, ...]:
        """Return probabilities of the classes of each cell, [b, c], one array for each task of a fine-tuned head.

        ``classes`` names the columns where the checkpoint has one task.

        Raises
        ------
        InputError
            The checkpoint has no head for classes of cells.
        """
        with torch.inference_mode():
            logits = cell_logits(*self.prepare(minibatch, device, dtype))
        return tuple(one.float().softmax(1) for one in logits)

    def predict_gene_classes(self, minibatch: Tokens, *, device: torch.device, dtype: torch.dtype) -> GeneRows:
        """Return probabilities of the classes of each gene in each cell, with values [k, c].

        Raises
        ------
        InputError
            The checkpoint has no head for classes of genes.
        """
        network, ids, spans = self.prepare(minibatch, device, dtype)
        with torch.inference_mode():
            return self._gene_rows(gene_logits(network, ids, spans).float().softmax(1), ids, spans)

    def _pool(self, hidden: torch.Tensor, ids: torch.Tensor, spans: Spans, pooling: str | None) -> torch.Tensor:
        """Vector of each cell: its first token, or the mean of its genes, [t, d] -> [b, d]."""
        if (pooling or self.spec.poolings[0]) == "cls":
            return hidden[spans.starts.to(hidden.device)]
        rows = self._gene_rows(hidden.float(), ids, spans)
        n_genes = torch.bincount(rows.cell, minlength=len(spans.lengths))
        return Spans(tuple(n_genes.tolist())).mean(rows.values)

    def _gene_rows(self, values: torch.Tensor, ids: torch.Tensor, spans: Spans) -> GeneRows:
        """Leave out the special tokens."""
        is_gene = ~self._special.to(ids.device)[ids]
        return GeneRows(cell=spans.cells.to(ids.device)[is_gene], gene=ids[is_gene], values=values[is_gene])

    def prepare(
        self, minibatch: Tokens, device: torch.device, dtype: torch.dtype
    ) -> tuple[Network, torch.Tensor, Spans]:
        """Return the network where and how precisely it is to run, the tokens [t] there, and where each cell stands."""
        ids = torch.from_numpy(minibatch.ids.astype(np.int64)).to(device)
        return self._copies.on(device, dtype), ids, Spans(tuple(minibatch.lengths.tolist()))

    @cached_property
    def _special(self) -> torch.Tensor:
        return torch.from_numpy(self.dictionaries.special)
