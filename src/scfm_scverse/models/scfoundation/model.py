"""scFoundation behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._errors import InputError
from ...checkpoints import LoadReport
from ...genes import GeneMatch, place_names, place_written, resolve_genes
from ...nn import Copies, Spans
from ...nn.identity import hash_network
from ...tokens import Tokens
from ...tokens.read_depth import ReadDepth
from ..base import Attention, AttentionRows, Columns, Encoded, ModelSpec, Output, Wanted, check_wanted
from ..panel import read_panel
from ..readout import attention_rows, linear_attention_rows, panel_rows
from ..trainable import Pass
from .decoding import Decoding
from .files import Key, load_network, read_sizes, read_submodel
from .heads import with_padding
from .network import ScFoundationNetwork, Transformer
from .options import Options
from .rows import Rows, make_rows, pool
from .training import new_classifier, write_scfoundation

SPECIAL = ("<T>", "<S>")  # at the two positions behind the genes
POOLINGS = ("all", "max", "mean", "S", "T")
LICENCE = "scFoundation model licence: research that is not commercial, no redistribution"


class ScFoundation:
    """scFoundation (xTrimoGene): an encoder over the expressed genes, and a decoder over all 19,264.

    Parameters
    ----------
    network
        The network, float32 on the CPU.
    key
        Under which name a file holds it.
    spec
        What is known of it; the last two entries of its vocabulary are T and S.
    options
        How it is to be run.
    report
        What became of its file.
    """

    def __init__(
        self, network: ScFoundationNetwork, key: Key, spec: ModelSpec, options: Options, report: LoadReport
    ) -> None:
        self.network = network
        self.key: Key = key
        self.spec = spec
        self.options = options
        self._report = report
        self._embedding = Copies(network.embedding)
        self._transformer = Copies(network.transformer)
        decoder, original = network.decoder, options.mode == "original"
        self._decoding = None if decoder is None else Decoding(self._embedding, decoder, original=original)

    @classmethod
    def read(cls, path: Path, *, key: Key, genes: str | Path | Sequence[str] | None, options: Options) -> ScFoundation:
        """Read a file; see :func:`scfm_scverse.models.scfoundation.load`."""
        found = read_submodel(path, key)
        # The authors take vectors of genes from this one only; the decoder of the others would be memory for nothing.
        sizes = read_sizes(found, decoder=found.key == "gene")
        names = read_panel(__package__, path, sizes.n_positions - len(SPECIAL), genes)
        facts = {
            "sub-model": found.key,
            "not read": ", ".join(found.others) or "none",
            "genes": f"{len(names):,}",
            "encoder": f"{sizes.n_layers} layers, width {sizes.dim}, {sizes.n_heads} heads",
        }
        network, report = load_network(path, found, sizes, facts)
        spec = spec_of(found.key, names, network, options, str(found.config.get("licence", LICENCE)))
        return cls(network, found.key, spec, options, report)

    @property
    def n_genes(self) -> int:
        """Genes of the list, without T and S."""
        return len(self.spec.genes) - len(SPECIAL)

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        rows = resolve_genes(self.spec.genes[: self.n_genes].tolist(), organism="human").rows
        return np.concatenate([rows, np.full(len(SPECIAL), -1, rows.dtype)])

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        if not self._original:
            return place_names(match, ids, self.spec.genes, self.gene_rows)
        return place_written(match.names, self.spec.genes[: self.n_genes].tolist(), once=True)

    def tokenizer(self, columns: Columns) -> Callable[..., Tokens]:
        """Return the tokeniser of a matrix with these columns.

        Raises
        ------
        InputError
            The values are not of the kind that ``pre_normalized`` promised.
        """
        if (columns.base == 0) != (self.options.pre_normalized == "F"):
            found = "counts" if columns.base == 0 else "log values"
            msg = (
                f"Found {found} and a model loaded with pre_normalized={self.options.pre_normalized!r}; load it with "
                "pre_normalized='F' for counts, with 'T' (or 'A' with total_key=) for log values."
            )
            raise InputError(msg)
        return ReadDepth(
            columns=columns.vocabulary,
            n_genes=len(self.spec.genes),
            target=self.options.target,
            base=columns.base,
            sample=self.options.input_type,
            target_sum=self.options.target_sum,
            needs_totals=self.options.pre_normalized == "A",
        )

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector of each gene's position, and of those of T and S, [v, d]."""
        vectors: NDArray[np.float32] = self.network.embedding.pos_emb.weight.detach()[:-1].numpy().copy()
        return vectors

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return self._report

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Compute what is wanted.

        Returns
        -------
        Vectors of cells [b, 4 d] or [b, d] (see ``POOLINGS``); of every gene of the list in every cell; log values of
        these genes at depth T; attention in the encoder.

        Raises
        ------
        InputError
            Something that the model does not have, or genes or their expression of a layer of the encoder.
        """
        check_wanted(self.spec, want)
        if want.layer is not None and want.outputs & {"gene", "expression"}:
            msg = (
                f"Found output_layer={want.layer} for genes or their expression; expected None for {self.spec.name}, "
                "whose decoder reads the last layer of the encoder."
            )
            raise InputError(msg)
        with torch.inference_mode():
            x, rows = self._embedded(minibatch, device, dtype)
            transformer = self._transformer.on(device, dtype)
            cell = gene = expression = attention = None
            if "cell" in want.outputs:
                cell = self._cells(transformer, x, rows, want)
            if want.outputs & {"gene", "expression"}:
                vectors = self._decoder.genes(self._decoder.filled(transformer(x, rows.spans), rows))
                gene = panel_rows(vectors) if "gene" in want.outputs else None
                numbers = "expression" in want.outputs
                expression = panel_rows(self._decoder.expression(vectors)) if numbers else None
            if want.attention is not None:
                attention = attention_rows(transformer.encoder, x, rows.positions, rows.spans, want.attention)
            return Encoded(cell, gene, expression, attention)

    def sensitivity(
        self, minibatch: Tokens, want: Wanted, scores: Callable[[Encoded], Tensor], *, device: torch.device
    ) -> Tensor:
        """Return the change of each score, to first order, as each gene is taken out of its cell, [k, t].

        Raises
        ------
        InputError
            The vectors of genes are wanted, which come from the decoder.
        """
        from .sensitivity import sensitivity

        check_wanted(self.spec, want)
        if want.outputs != {"cell"}:
            msg = f"Found the outputs {sorted(want.outputs)}; expected vectors of cells alone, without the decoder."
            raise InputError(msg)
        n_layers = None if want.layer in {None, -1} else self.spec.n_layers + 1 + (want.layer or 0)
        networks = self._embedding.on(device, torch.float32), self._transformer.on(device, torch.float32)
        how = want.pooling or POOLINGS[0]
        return sensitivity(*networks, minibatch, scores, self.options, n_layers=n_layers, how=how)

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:  # noqa: ARG002 (tells none apart)
        """Rows of the genes [t, d], without T and S, and their maximum in each cell [b, d], with gradients.

        So the authors fine-tune. For the rows with T and S see :meth:`predict_masked`.
        """
        network, where = self.network, self.network.embedding.pos_emb.weight.device
        spans = Spans(tuple(minibatch.lengths.tolist()))
        values = torch.from_numpy(minibatch.values).to(where)
        x = network.embedding(values, torch.from_numpy(minibatch.ids.astype(np.int64)).to(where))
        rows = network.transformer(x, spans)
        cell = pool(rows, spans, "max")
        if self._original:
            cell = with_padding(cell, x, spans, network.embedding, network.transformer)
        return Pass(cell=cell, rows=rows)

    def predict_masked(self, minibatch: Tokens, cells: NDArray[np.int64], genes: NDArray[np.int64]) -> Tensor:
        """Log values at depth T of ``k`` masked genes, [k], with gradients.

        Parameters
        ----------
        minibatch
            Tokens without those of masked genes, with T and S.
        cells, genes
            Cell of the minibatch and position of each masked gene, [k].

        Raises
        ------
        InputError
            The model was loaded without its decoder.
        """
        network = self.network
        if network.decoder is None:
            raise InputError(self._no_decoder)
        where = network.embedding.pos_emb.weight.device
        masked = torch.from_numpy(cells).to(where), torch.from_numpy(genes).to(where)
        rows = make_rows(minibatch, self.n_genes, where, drop=self._original)
        encoded = network(rows.values, rows.positions, rows.spans)
        vectors = network.decode(encoded, rows.positions, rows.spans, masked)
        return network.decoder.expression(vectors[masked])

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network the classifier of the authors' example, for ``n`` classes."""
        self.network.classifier = new_classifier(self.network, n, seed)

    def class_logits(self, seen: Pass) -> Tensor:
        """Score the classes of every cell, [b, n]."""
        logits: Tensor = self.network.classifier(seen.cell)
        return logits

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = replace(self.spec, weights_hash=hash_network(self.network, self.spec.genes[: self.n_genes]))

    def write(self, folder: Path) -> None:
        """Write the layout that the authors release, with this model alone, and the list of genes beside it."""
        write_scfoundation(self, folder)

    def decoder_attention(
        self, minibatch: Tokens, wanted: Attention, *, device: torch.device, dtype: torch.dtype
    ) -> AttentionRows:
        """Return the attention in the decoder, whose layers ``wanted.layer`` counts, of genes to all positions."""
        with torch.inference_mode():
            x, tokens = self._embedded(minibatch, device, dtype)
            filled = self._decoder.filled(self._transformer.on(device, dtype)(x, tokens.spans), tokens)
            performer = self._decoder.decoder.on(device, dtype).performer
            asked = replace(wanted, genes=tuple(gene for gene in wanted.genes if gene < self.n_genes))
            rows = linear_attention_rows(performer, filled, asked, behind=self._original, where="the decoder")
            # The authors' program divides by the number of heads.
            n_heads = performer.stack[0].attention.n_heads
            return replace(rows, weights=rows.weights / n_heads) if self._original else rows

    @property
    def _original(self) -> bool:
        return self.options.mode == "original"

    @property
    def _decoder(self) -> Decoding:
        if self._decoding is None:
            raise InputError(self._no_decoder)
        return self._decoding

    @property
    def _no_decoder(self) -> str:
        return f"{self.spec.id} was loaded without its decoder; load the file with key='gene'."

    def _embedded(self, minibatch: Tokens, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Rows]:
        """What goes into the encoder, [t, d]."""
        rows = make_rows(minibatch, self.n_genes, device, drop=self._original)
        # Numbers such as T are read in float32: eight bits are too few for them.
        return self._embedding.on(device, torch.float32)(rows.values, rows.positions).to(dtype), rows

    def _cells(self, transformer: Transformer, x: Tensor, rows: Rows, want: Wanted) -> Tensor:
        # The last layer is read through the normalisation behind it, as the authors do.
        n_layers = None if want.layer in {None, -1} else self.spec.n_layers + 1 + (want.layer or 0)
        how = want.pooling or POOLINGS[0]
        if how in {"S", "T"}:
            read = rows.last - (1 if how == "T" else 0)
            out: Tensor = transformer(x, rows.spans, n_layers=n_layers, read=read)
            return out
        return pool(transformer(x, rows.spans, n_layers=n_layers).float(), rows.spans, how)


def spec_of(
    key: Key, genes: NDArray[np.str_], network: ScFoundationNetwork, options: Options, licence: str
) -> ModelSpec:
    """Describe the model; ``genes`` are those of the list, without T and S."""
    sizes = network.sizes
    outputs: frozenset[Output] = frozenset({"cell", "attention"})
    return ModelSpec(
        name="scFoundation",
        version=f"{key}-{options}",
        weights_hash=hash_network(network, genes),
        genes=np.array([*genes.tolist(), *SPECIAL]),
        organism="human",
        dim=4 * sizes.dim,
        key_added="X_scFoundation",
        outputs=outputs if sizes.decoder is None else outputs | {"gene", "expression"},
        needs_counts=options.pre_normalized == "F",
        licence=licence,
        citation="Hao et al., Nature Methods 2024, doi 10.1038/s41592-024-02305-7",
        description=f"Transformer over the expressed of {len(genes):,} genes, and a decoder over all of them.",
        n_layers=sizes.n_layers,
        poolings=POOLINGS if options.mode == "default" else POOLINGS[:2],  # the script has no others
        reads_totals=True,
        bfloat16=True,
        # A cell takes 40 MB where it is decoded, however few tokens it has.
        minibatch_tokens=2048 if sizes.decoder is None else 1024,
    )
