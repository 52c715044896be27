"""scBERT behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..._errors import InputError
from ...checkpoints import LoadReport
from ...genes import GeneMatch, place_names, place_written, resolve_genes
from ...nn import Copies, state_of
from ...nn.favor import KeySums
from ...nn.identity import hash_network
from ...nn.presence import gradients
from ...tokens import Tokens
from ...tokens.levels import Levels
from ..base import Columns, Encoded, ModelSpec, Wanted, check_wanted
from ..panel import read_panel
from ..readout import linear_attention_rows, panel_rows
from ..trainable import Pass
from .files import load_network, read_sizes, read_stored
from .first_layer import EmptyCell
from .names import read_classes
from .network import Network
from .reading import gene_weights
from .training import new_class_head, write_scbert

Mode = Literal["default", "original"]

SPECIAL = "<cell>"  # the position behind the genes, whose token is always 0
UNASSIGNED = "Unassigned"
POOLINGS = ("mean", "last")


class ScBERT:
    """scBERT, pretrained or fine-tuned with a head of classes.

    Neither the authors' paper nor their code takes a vector of a cell from it. ``"mean"``, over all positions, is the
    default here; ``"last"`` is the position that stands for the cell, whose output no loss of the pretraining reads.

    Parameters
    ----------
    network
        The network, float32 on the CPU.
    spec
        What is known of it; the last entry of its vocabulary is the position that stands for the cell.
    classes
        Names of the classes of a fine-tuned head; none if pretrained.
    mode
        How closely the authors' program is followed.
    report
        What became of its file.
    """

    def __init__(
        self, network: Network, spec: ModelSpec, classes: tuple[str, ...], mode: Mode, report: LoadReport
    ) -> None:
        self.network = network
        self.spec = spec
        self.classes = classes
        self.mode = mode
        self._report = report
        self._copies = Copies(network)
        self._empty: tuple[object, EmptyCell] | None = None

    @classmethod
    def read(
        cls,
        path: Path,
        *,
        genes: str | Path | Sequence[str] | None,
        classes: str | Path | Sequence[str] | None,
        mode: Mode,
    ) -> ScBERT:
        """Read a file; see :func:`scfm_scverse.models.scbert.load`."""
        if mode not in get_args(Mode):
            msg = f"Found mode={mode!r}; expected {' or '.join(map(repr, get_args(Mode)))}."
            raise InputError(msg)
        stored = read_stored(path)
        sizes = read_sizes(path, stored.tensors)
        names = read_panel(__package__, path, sizes.n_positions - 1, stored.genes if genes is None else genes)
        classes = stored.classes if classes is None else classes
        labels = () if sizes.n_classes is None else read_classes(path, sizes.n_classes, classes)
        shape = f"{sizes.n_layers} layers, width {sizes.dim}, {sizes.n_heads} heads of {sizes.dim_head}"
        facts = stored.facts | {"genes": f"{len(names):,}", "network": shape, "classes": ", ".join(labels) or "none"}
        network, report = load_network(path, stored.tensors, sizes, facts)
        if mode == "original":
            network.performer.as_published()
        return cls(network, spec_of(network, names, labels, mode, stored.licence), labels, mode, report)

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        rows = resolve_genes(self.spec.genes[:-1].tolist(), organism="human").rows
        return np.append(rows, -1).astype(np.int32)

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        if self.mode != "original":
            return place_names(match, ids, self.spec.genes, self.gene_rows)
        return place_written(match.names, self.spec.genes[:-1].tolist(), once=True)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the tokeniser of a matrix with these columns."""
        return Levels(columns=columns.vocabulary, n_genes=len(self.spec.genes), base=columns.base)

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector of each gene, as gene2vec made it, [v, d]."""
        vectors: NDArray[np.float32] = self.network.gene_emb.numpy().copy()
        return vectors

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return self._report

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Return vectors of cells [b, d], of every gene of the list in every cell, attention between genes."""
        check_wanted(self.spec, want)
        how = want.pooling or POOLINGS[0]
        n_layers = self.spec.n_layers + 1 + (-1 if want.layer is None else want.layer)
        network = self._copies.on(device, dtype)
        cell = gene = attention = None
        with torch.inference_mode():
            x, sums = self._filled(network, minibatch, device, dtype)
            if want.outputs & {"cell", "gene"}:
                only_last = how == "last" and "gene" not in want.outputs
                read = torch.tensor([x.shape[1] - 1], device=device) if only_last else None
                hidden = network.encode(x, n_layers=n_layers, read=read, sums=sums)
                if "cell" in want.outputs:
                    cell = hidden[:, -1] if how == "last" else hidden.mean(1, dtype=torch.float32)
                gene = panel_rows(hidden[:, :-1]) if "gene" in want.outputs else None
            if "attention" in want.outputs and want.attention is not None:
                published = self.mode == "original"
                attention = linear_attention_rows(network.performer, x, want.attention, behind=published)
        return Encoded(cell=cell, gene=gene, attention=attention)

    def sensitivity(
        self, minibatch: Tokens, want: Wanted, scores: Callable[[Encoded], Tensor], *, device: torch.device
    ) -> Tensor:
        """Return the change of each score, to first order, as the level of each token becomes 0, [k, t].

        That is no small step for the row itself, so that the derivative is taken halfway. The others keep their levels.
        """
        check_wanted(self.spec, want)
        network = self._copies.on(device, torch.float32)
        n_layers = self.spec.n_layers + 1 + (-1 if want.layer is None else want.layer)
        cells = torch.from_numpy(np.repeat(np.arange(len(minibatch)), minibatch.lengths)).to(device)
        ids = torch.from_numpy(minibatch.ids).to(device, torch.int64)
        with torch.no_grad():
            x, _ = self._filled(network, minibatch, device, torch.float32)
            levels = torch.from_numpy(minibatch.values).to(device, torch.int64)
            step = network.token_emb.weight[0] - network.token_emb(levels)
            x[cells, ids] += step / 2
        hidden = network.encode(x.requires_grad_(), n_layers=n_layers)
        cell = hidden[:, -1] if (want.pooling or POOLINGS[0]) == "last" else hidden.mean(1)
        (of_x,) = gradients(scores(Encoded(cell=cell, gene=panel_rows(hidden[:, :-1]))), (x,))
        change: Tensor = (of_x[:, cells, ids] * step).sum(-1)
        return change

    def logits(self, minibatch: Tokens, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Scores of the tokens 0 to 5 (levels) and 6 (mask) at every position, [b, v, 7]; only if pretrained."""
        if self.classes:
            msg = f"{self.spec.id} has a head of classes; expected a pretrained file, which has one of levels."
            raise InputError(msg)
        return self._head(minibatch, device, dtype)

    def class_probabilities(self, minibatch: Tokens, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Probability of each of ``classes``, [b, c]; only if fine-tuned."""
        if not self.classes:
            raise InputError(_no_classes(self.spec))
        return self._head(minibatch, device, dtype).float().softmax(-1)

    def predict_classes(
        self, minibatch: Tokens, *, unassigned_below: float = 0.0, device: torch.device, dtype: torch.dtype
    ) -> NDArray[np.str_]:
        """Return the most probable class of each cell, ``"Unassigned"`` where its probability is smaller, [b].

        The authors take 0.5 where new types are looked for.
        """
        probable, at = self.class_probabilities(minibatch, device=device, dtype=dtype).max(-1)
        names = np.array(self.classes)[at.cpu().numpy()]
        return np.where(probable.cpu().numpy() < unassigned_below, UNASSIGNED, names)

    def gene_weights(self, minibatch: Tokens, *, device: torch.device, dtype: torch.dtype) -> Tensor:
        """Attention that each position of the vocabulary gets in each cell, over all layers and heads, [b, v].

        The weights of a cell sum to one; the authors average them over the cells of a type to find its genes.
        """
        network = self._copies.on(device, dtype)
        with torch.inference_mode():
            x, _ = self._filled(network, minibatch, device, dtype)
            return gene_weights(network.performer, x, as_published=self.mode == "original")

    def run(self, minibatch: Tokens, *, batches: Tensor | None = None) -> Pass:  # noqa: ARG002 (of the protocol)
        """Rows of all positions [b, v, d], and their means [b, d], with gradients."""
        network = self.network
        levels = torch.zeros(len(minibatch), len(self.spec.genes), dtype=torch.int64)
        cells = torch.from_numpy(np.repeat(np.arange(len(minibatch)), minibatch.lengths))
        levels[cells, torch.from_numpy(minibatch.ids).long()] = torch.from_numpy(minibatch.values).long()
        rows = network.encode(network.embed(levels.to(network.gene_emb.device)))
        return Pass(cell=rows.mean(1), rows=rows)

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network a convolution and three layers for ``n`` classes, in place of the head of levels."""
        self.network.to_out = new_class_head(self.network, n, seed)
        self.classes = tuple(map(str, range(n)))

    def class_logits(self, seen: Pass) -> Tensor:
        """Score the classes of every cell, [b, n]."""
        if not self.classes:
            raise InputError(_no_classes(self.spec))
        out: Tensor = self.network.to_out(seen.rows)
        return out

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = spec_of(self.network, self.spec.genes[:-1], self.classes, self.mode, self.spec.licence)

    def write(self, folder: Path) -> None:
        """Write the tensors as the authors name them, as safetensors, with the names of genes and classes."""
        write_scbert(self, folder)

    def _head(self, minibatch: Tokens, device: torch.device, dtype: torch.dtype) -> Tensor:
        network = self._copies.on(device, dtype)
        with torch.inference_mode():
            x, sums = self._filled(network, minibatch, device, dtype)
            out: Tensor = network.to_out(network.encode(x, sums=sums))
            return out

    def _filled(
        self, network: Network, minibatch: Tokens, device: torch.device, dtype: torch.dtype
    ) -> tuple[Tensor, list[KeySums]]:
        asked = (device, dtype, state_of(self.network))
        if self._empty is None or self._empty[0] != asked:
            self._empty = asked, EmptyCell.of(network)
        return self._empty[1].fill(network, minibatch)


def _no_classes(spec: ModelSpec) -> str:
    return f"{spec.id} has a head of levels; expected a file that fine-tuning wrote, which has classes."


def spec_of(network: Network, names: NDArray[np.str_], classes: tuple[str, ...], mode: Mode, licence: str) -> ModelSpec:
    """Describe the model of these genes and classes."""
    n_layers, dim = len(network.performer.layers), network.gene_emb.shape[1]
    return ModelSpec(
        name="scBERT",
        version="fine-tuned" if classes else "pretrained",
        weights_hash=hash_network(network, names),
        genes=np.array([*names.tolist(), SPECIAL]),
        organism="human",
        dim=dim,
        key_added="X_scBERT",
        outputs=frozenset({"cell", "gene", "attention"}),
        needs_counts=False,
        licence=licence,
        citation="Yang et al., Nature Machine Intelligence 2022, doi 10.1038/s42256-022-00534-z",
        description=f"Linear-attention transformer over all of {len(names):,} genes, read as levels of expression.",
        n_layers=n_layers,
        poolings=POOLINGS,
        bfloat16=True,
        options=() if mode == "default" else (("mode", mode),),
        minibatch_tokens=1,  # a cell has all positions, however few tokens: more cells at once gain nothing
    )
