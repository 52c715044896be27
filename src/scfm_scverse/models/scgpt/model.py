"""scGPT behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import normalize

from ..._errors import CheckpointError, InputError
from ...checkpoints import LoadReport
from ...genes import GeneMatch, place_names, place_written, resolve_genes
from ...io.safetensors import hash_tensors
from ...nn import Copies, Spans
from ...nn.identity import arrays_of
from ...nn.presence import encode_present, gradients, mean_present
from ...tokens import Tokens
from ...tokens.bins import Bins
from ..base import Columns, Encoded, GeneRows, ModelSpec, Output, Wanted, check_wanted
from ..readout import attention_rows
from ..trainable import Pass
from .build import build_network, pad_value_of
from .files import CLS, EOC, PAD, read_checkpoint
from .network import ScgptConfig, ScgptNetwork
from .options import Options
from .original import OriginalBins, pads_beside, pool_padded
from .parts import new_class_head
from .training import write_scgpt

LICENCE = "MIT"  # of the authors' repository


class Scgpt:
    """A scGPT checkpoint, pre-trained or fine-tuned.

    Attributes
    ----------
    network
        The network in float32: the heads that are no output of :meth:`encode` are its methods.
    spec, options
        What it is, and how it was asked to run.
    cls, pad
        Positions of <cls> and <pad> in the vocabulary.
    pad_value, cls_value
        Value of padding, and that of <cls>.
    """

    def __init__(
        self, network: ScgptNetwork, spec: ModelSpec, options: Options, loaded: LoadReport, pad_value: float
    ) -> None:
        names = spec.genes.tolist()
        self.network = network
        self.spec = spec
        self.options = options
        self.cls, self.pad = names.index(CLS), names.index(PAD)
        self.pad_value = pad_value
        self.cls_value = _cls_value(network.config, options, pad_value)
        self._loaded = loaded
        self._copies = Copies(network)

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        rows = resolve_genes(self.spec.genes.tolist(), organism="human").rows.astype(np.int32)
        rows[self._special.numpy()] = -1
        return rows

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        if self.options.mode == "original":
            return place_written(match.names, self.spec.genes.tolist(), once=False)
        return place_names(match, ids, self.spec.genes, self.gene_rows)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the tokeniser of a matrix with these columns."""
        bins = Bins(
            columns=columns.vocabulary,
            n_genes=len(self.spec.genes),
            first=self.cls,
            first_value=self.cls_value,
            base=columns.base,
            n_bins=self.network.config.n_bins,
            max_length=self.options.max_length,
            ties=self.options.ties,
            sampling=self.options.sampling,
            seed=self.options.random_state,
        )
        return OriginalBins(bins) if self.options.mode == "original" else bins

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector of each gene, [v, d]."""
        with torch.inference_mode():
            vectors: NDArray[np.float32] = self.network.encoder(torch.arange(len(self.spec.genes))).numpy()
        return vectors

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return self._loaded

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Return vectors of cells [b, d] and of genes in cells, expression in bins, attention between genes.

        The vector of a cell is that of <cls> or the sum of its genes' weighted by their bins, of unit length both, or
        their mean. <cls> is no gene. A model that tells batches apart takes each cell for one of the batch that
        ``minibatch.extra["batch"]`` has, and where there is none for the one it was loaded with.
        """
        check_wanted(self.spec, want)
        network = self._copies.on(device, dtype)
        ids = torch.from_numpy(minibatch.ids.astype(np.int64)).to(device)
        # Categories are looked up, and bfloat16 has not all whole numbers above 256.
        of_values = torch.float32 if network.config.value_style == "category" else dtype
        values = torch.from_numpy(minibatch.values).to(device, of_values)
        spans = Spans(tuple(minibatch.lengths.tolist()))
        n_layers = self.spec.n_layers + 1 + (-1 if want.layer is None else want.layer)
        cell = gene = expression = attention = None
        batches = self._batches(minibatch, device)
        with torch.inference_mode():
            x = network.embed(network.encoder(ids), values, None if batches is None else batches[spans.cells])
            encoder = network.transformer_encoder
            pooling = want.pooling or self.spec.poolings[0]
            if want.outputs == {"cell"} and pooling == "cls":
                return Encoded(cell=_unit(encoder(x, spans, n_layers=n_layers, read=spans.starts.to(device))))
            if "cell" in want.outputs and pooling != "cls" and self.options.mode == "original":
                cell = self._pool_originally(network, x, values, spans, n_layers, pooling, batches)
            hidden = encoder(x, spans, n_layers=n_layers) if want.outputs - {"attention"} else x
            is_gene = ~self._special.to(device)[ids]
            if "cell" in want.outputs and cell is None:
                cell = pool(hidden, values, is_gene, spans, pooling)
            which = spans.cells.to(device)[is_gene], ids[is_gene]
            if "gene" in want.outputs:
                gene = GeneRows(*which, hidden[is_gene])
            if "expression" in want.outputs:
                last = hidden if n_layers == self.spec.n_layers else encoder(x, spans)
                told = network.expression(last, spans, batches).value
                expression = GeneRows(*which, told[is_gene])
            if want.attention is not None:
                attention = attention_rows(encoder, x, ids, spans, want.attention)
        return Encoded(cell=cell, gene=gene, expression=expression, attention=attention)

    def sensitivity(
        self, minibatch: Tokens, want: Wanted, scores: Callable[[Encoded], Tensor], *, device: torch.device
    ) -> Tensor:
        """Return the change of each score, to first order, as each token is taken out of its cell, [k, t].

        The other genes keep their bins, and ``mode="original"`` its padding out of the vectors of cells.
        """
        check_wanted(self.spec, want)
        network = self._copies.on(device, torch.float32)
        ids, spans = (
            torch.from_numpy(minibatch.ids.astype(np.int64)).to(device),
            Spans(tuple(minibatch.lengths.tolist())),
        )
        values = torch.from_numpy(minibatch.values).to(device)
        absent = torch.zeros(len(ids), device=device, requires_grad=True)
        n_layers = self.spec.n_layers + 1 + (-1 if want.layer is None else want.layer)
        batches = self._batches(minibatch, device)
        x = network.embed(network.encoder(ids), values, None if batches is None else batches[spans.cells]).detach()
        hidden = encode_present(network.transformer_encoder, x, spans, absent, n_layers=n_layers)
        is_gene = ~self._special.to(device)[ids]
        gene = GeneRows(spans.cells.to(device)[is_gene], ids[is_gene], hidden[is_gene])
        cell = pool(hidden, values, is_gene, spans, want.pooling or self.spec.poolings[0], absent)
        return gradients(scores(Encoded(cell=cell, gene=gene)), (absent,))[0]

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:
        """Rows of the last layer [t, d], and those of <cls> [b, d], with gradients."""
        where = self.network.encoder.embedding.weight
        ids = torch.from_numpy(minibatch.ids.astype(np.int64)).to(where.device)
        of_values = torch.float32 if self.network.config.value_style == "category" else where.dtype
        values = torch.from_numpy(minibatch.values).to(where.device, of_values)
        spans = Spans(tuple(minibatch.lengths.tolist()))
        _, rows = self.network(ids, values, spans, None if batches is None else batches.to(where.device))
        return Pass(cell=rows[spans.starts.to(where.device)], rows=rows)

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network a decoder of ``n`` classes."""
        self.network.cls_decoder = new_class_head(self.network, n, seed)

    def class_logits(self, seen: Pass) -> Tensor:
        """Score the classes of every cell, [b, n]."""
        return self.network.classes(seen.cell)

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = spec_of(self.spec.genes, self.network, self.options, self.pad_value, self.spec.licence)

    def write(self, folder: Path) -> None:
        """Write the layout that the authors release, the weights as safetensors."""
        write_scgpt(self, folder)

    def _pool_originally(
        self,
        network: ScgptNetwork,
        x: Tensor,
        values: Tensor,
        spans: Spans,
        n_layers: int,
        pooling: str,
        batches: Tensor | None,
    ) -> Tensor:
        pad = network.encoder(torch.tensor([self.pad], device=x.device))
        # The authors take a minibatch for one of the batch of its first cell.
        pad = network.embed(pad, values.new_tensor([self.pad_value]), None if batches is None else batches[:1])
        hidden, pads = pads_beside(network.transformer_encoder, x, pad[0], spans, n_layers)
        weights = values.float() if pooling == "weighted" else None
        return pool_padded(hidden.float(), pads.float(), spans, weights, self.pad_value)

    def _batches(self, minibatch: Tokens, device: torch.device) -> Tensor | None:
        """Batch of each cell [b], for a network that reads it."""
        config = self.network.config
        if not config.reads_batches:
            return None
        if "batch" in minibatch.extra:
            return torch.from_numpy(minibatch.extra["batch"].astype(np.int64)).to(device)
        if self.options.batch is None or self.options.batch >= config.n_batches:
            msg = (
                f"Found batch={self.options.batch} for a model that tells {config.n_batches} batches apart; expected "
                f"a number from 0 to {config.n_batches - 1}, as scfm.models.load(path, batch=0) gives it to all cells; "
                "get_latent_representation of the FoundationModel takes every cell as one of its own batch."
            )
            raise InputError(msg)
        return torch.full((len(minibatch),), self.options.batch, device=device)

    @cached_property
    def _special(self) -> Tensor:
        return torch.from_numpy(np.isin(self.spec.genes, (PAD, CLS, EOC)))


def pool(
    hidden: Tensor, values: Tensor, is_gene: Tensor, spans: Spans, how: str, absent: Tensor | None = None
) -> Tensor:
    """Vector of each cell, [t, d] -> float32 [b, d]; ``absent`` tokens [t] weigh less."""
    if how == "cls":
        return _unit(hidden[spans.starts.to(hidden.device)])
    genes = Spans(tuple(int(part.sum()) for part in torch.split(is_gene, list(spans.lengths))))
    rows = hidden[is_gene].float()
    rows = rows if how == "mean" else rows * values[is_gene].float()[:, None]
    mean = genes.mean(rows) if absent is None else mean_present(rows, genes, absent[is_gene])
    return mean if how == "mean" else _unit(mean)


def _unit(rows: Tensor) -> Tensor:
    return normalize(rows.float(), dim=1)


def load_scgpt(path: Path, options: Options, remembered: Set[str] = frozenset()) -> Scgpt:
    """Read a checkpoint and build the model, with those ``remembered`` options that its folder tells."""
    checkpoint = read_checkpoint(path)
    told = checkpoint.args.get("options")
    if isinstance(told, dict):
        options = replace(options, **{name: told[name] for name in remembered & told.keys()})
    network, loaded = build_network(checkpoint)
    if options.batch is not None and not network.config.reads_batches:
        msg = f"Found batch={options.batch} for a model that tells no batches apart; expected batch=None."
        raise InputError(msg)
    pad_value = pad_value_of(network.config, checkpoint.args)
    licence = str(checkpoint.args.get("licence", LICENCE))  # which only a file of ours tells
    spec = spec_of(checkpoint.vocabulary, network, options, pad_value, licence)
    return Scgpt(network, spec, options, loaded, pad_value)


def _cls_value(config: ScgptConfig, options: Options, pad_value: float) -> float:
    of_categories = config.value_style == "category"
    if options.cls_value is None:
        return 0.0 if of_categories else pad_value
    if of_categories and options.cls_value not in range(config.n_values):
        msg = (
            f"The checkpoint has {config.n_values} categories of values and none for cls_value={options.cls_value}; "
            f"expected cls_value= a whole number from 0 to {config.n_values - 1}."
        )
        raise CheckpointError(msg)
    return options.cls_value


def hash_model(network: ScgptNetwork, genes: NDArray[np.str_], pad_value: float) -> str:
    """Hash of all that makes the results: the tensors that were placed, the vocabulary, what only ``args.json`` tells.

    Tensors stand under our names, so that the same numbers have one hash in every file.
    """
    config = network.config
    told = f"n_heads={config.n_heads},value_style={config.value_style},pad_value={pad_value}"
    return hash_tensors(
        arrays_of(network.state_dict())
        | {"vocabulary": np.char.encode(genes, "utf-8"), "config": np.frombuffer(told.encode(), np.uint8)}
    )


def spec_of(
    vocabulary: NDArray[np.str_], network: ScgptNetwork, options: Options, pad_value: float, licence: str
) -> ModelSpec:
    """Describe the model."""
    config = network.config
    # A perturbation model reads logarithms of all genes and no <cls>: tokens of bins would tell it nothing.
    outputs: set[Output] = set() if config.perturbation else {"cell", "gene", "attention"}
    if config.expression and not config.n_modalities:  # whose decoder must be told the modality of every token
        outputs.add("expression")
    return ModelSpec(
        name="scGPT",
        version=f"{config.n_layers}x{config.dim}",
        weights_hash=hash_model(network, vocabulary, pad_value),
        genes=vocabulary,
        organism="human",
        dim=config.dim,
        key_added="X_scGPT",
        outputs=frozenset(outputs),
        needs_counts=False,
        licence=licence,
        citation="Cui et al. 2024, Nature Methods 21:1470, doi:10.1038/s41592-024-02201-0",
        description=f"Transformer over binned expression: {config.n_layers} layers of width {config.dim}.",
        n_layers=config.n_layers,
        poolings=("cls", "mean", "weighted"),
        context=options.max_length,
        bfloat16=True,
        options=options.told,
        minibatch_tokens=2048,
    )
