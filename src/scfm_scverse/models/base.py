"""The one interface that every model implements."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from .._errors import InputError
from ..checkpoints import LoadReport
from ..genes import GeneMatch
from ..tokens import Tokens

if TYPE_CHECKING:
    import torch

Output = Literal["cell", "gene", "expression", "attention"]
"""What a model can be asked for: the embedding of each cell, the vector of each gene in each cell, the expression that
the model predicts, the attention that named genes pay to the others."""


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without running it.

    Attributes
    ----------
    name
        What messages call it; a registered model is found by :func:`scfm_scverse.models.load` under this name.
    version
        Version of its weights.
    weights_hash
        First 16 hexadecimal digits of the SHA-256 of its weights.
    genes
        Names of its vocabulary as its authors write them, Ensembl ids or symbols, special tokens included, [v].
    organism
        Organism of the vocabulary.
    dim
        Width of a cell's embedding, as pooled by default.
    key_added
        Where embeddings go in ``adata.obsm`` when the caller names no key.
    outputs
        What the model can be asked for.
    needs_counts
        Whether it needs raw counts, or takes log-normalised values too.
    licence
        Licence of the weights.
    citation
        What to cite.
    description
        One sentence.
    n_layers
        Layers of the network; 0 where there are none to choose from.
    poolings
        How a cell's vector can be taken from those of its tokens; the first is the default.
    context
        Tokens of a cell that it takes at most, special tokens included; ``None`` where there is no limit.
    reads_totals
        Whether its tokeniser takes the total counts of each cell as a second argument.
    bfloat16
        Whether ``dtype="auto"`` may choose bfloat16 where the processor has it.
    options
        Options that it was loaded with, where they change a result and are not the defaults: pairs of name and value.
    minibatch_tokens
        Tokens that go through the network together on a CPU; a GPU takes 32 times as many.
    edits_tokens
        Whether deletion and overexpression are edits of tokens, as its authors define them, and not of counts.
    compares_genes
        Whether a perturbed cell is compared with the cell gene by gene, as its authors do.
    """

    name: str
    version: str
    weights_hash: str
    genes: NDArray[np.str_]
    organism: Literal["human", "mouse"]
    dim: int
    key_added: str
    outputs: frozenset[Output]
    needs_counts: bool
    licence: str
    citation: str
    description: str
    n_layers: int = 0
    poolings: tuple[str, ...] = ()
    context: int | None = None
    reads_totals: bool = False
    bfloat16: bool = False
    options: tuple[tuple[str, str], ...] = ()
    minibatch_tokens: int = 2**20
    edits_tokens: bool = False
    compares_genes: bool = False

    @property
    def id(self) -> str:
        """Name, version, hash and options: what a slot remembers of the model that wrote it."""
        options = "".join(f",{name}={value}" for name, value in self.options)
        return f"{self.name}-{self.version}:{self.weights_hash}{options}"


@dataclass(frozen=True)
class Columns:
    """How the columns of a matrix meet a model: what a tokeniser needs to know of a data set.

    Attributes
    ----------
    vocabulary
        int32 [g]: position in the model's vocabulary, -1 where the model does not know the gene.
    counted
        bool [g]: whether the column is a gene at all (no spike-in, no summary row).
    base
        Base of the logarithm the values are in, 0 for linear values.
    names
        Names of the columns as they are written: Ensembl ids where there is such a column, [g].
    """

    vocabulary: NDArray[np.int32]
    counted: NDArray[np.bool_]
    base: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attention:
    """Which attention is wanted.

    Attributes
    ----------
    genes
        Positions in the vocabulary of the genes whose attention to the others is wanted.
    layer
        Layer, counted from the end as in Python: -1 is the last.
    heads
        Which heads; ``None`` is all of them.
    """

    genes: tuple[int, ...]
    layer: int = -1
    heads: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Wanted:
    """What a caller reads of a model, which computes that and nothing else.

    Attributes
    ----------
    outputs
        What is wanted.
    layer
        Layer whose output is read, counted from the end as in Python: -1 is the last layer, ``-1 - n_layers`` what
        goes into the first one. ``None`` is what the model's authors read.
    pooling
        One of the model's ``poolings``; ``None`` is the first.
    attention
        Which attention, where it is wanted.
    """

    outputs: frozenset[Output] = field(default_factory=lambda: frozenset[Output]({"cell"}))
    layer: int | None = None
    pooling: str | None = None
    attention: Attention | None = None


@dataclass(frozen=True)
class GeneRows:
    """One row for each of ``k`` pairs of a cell and a gene.

    Attributes
    ----------
    cell
        int64 [k]: position of the cell in the minibatch.
    gene
        int64 [k]: position of the gene in the vocabulary.
    values
        What is told of the gene in this cell: a vector, [k, d], or a number, [k].
    """

    cell: torch.Tensor
    gene: torch.Tensor
    values: torch.Tensor


@dataclass(frozen=True)
class AttentionRows:
    """Attention from a gene to a gene in a cell, for ``k`` such triples.

    Attributes
    ----------
    cell, query, key
        int64 [k]: position of the cell in the minibatch, and of both genes in the vocabulary.
    weights
        float32 [k, h]: share of the query's attention, by head. Over all keys of a query it sums to one, special
        tokens included.
    """

    cell: torch.Tensor
    query: torch.Tensor
    key: torch.Tensor
    weights: torch.Tensor


@dataclass(frozen=True)
class Encoded:
    """What a model answers; what was not wanted is ``None``.

    Attributes
    ----------
    cell
        [b, d]: row ``i`` belongs to cell ``i`` of the minibatch.
    gene
        Vectors of genes in cells.
    expression
        Expression that the model predicts, in the units that it was trained on.
    attention
        Attention between genes.
    """

    cell: torch.Tensor | None = None
    gene: GeneRows | None = None
    expression: GeneRows | None = None
    attention: AttentionRows | None = None


class CellModel(Protocol):
    """A network that turns the tokens of cells into numbers. It knows nothing of AnnData."""

    spec: ModelSpec

    @property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, -1 where there is none, [v]."""
        ...

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, -1 where it has none, [g]."""
        ...

    def tokenizer(self, columns: Columns) -> Callable[..., Tokens]:
        """Return the function that turns CSR blocks of such a matrix into tokens."""
        ...

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Compute what is wanted and nothing else."""
        ...

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector that the model holds for each gene before it sees a cell, [v, d]."""
        ...

    def report(self) -> LoadReport:
        """Return what was loaded, what was left out and why."""
        ...


class Sensitive(CellModel, Protocol):
    """A model that tells what taking a gene out of a cell does to it, to first order, for all genes at once."""

    def sensitivity(
        self,
        minibatch: Tokens,
        want: Wanted,
        scores: Callable[[Encoded], torch.Tensor],
        *,
        device: torch.device,
    ) -> torch.Tensor:
        """Return the change of each score as each token is taken out of its cell, float32 [k, t].

        ``scores`` makes numbers [k] of what :meth:`encode` would answer, each a sum over the cells of the minibatch, by
        operations that autograd knows. A special token has a number that means nothing.
        """
        ...


def check_wanted(spec: ModelSpec, want: Wanted) -> None:
    """Stop where a model is asked for what it cannot give.

    Raises
    ------
    InputError
        An output, a layer, a pooling or a head that the model does not have.
    """
    if not want.outputs <= spec.outputs:
        given, asked = (", ".join(sorted(outputs)) for outputs in (spec.outputs, want.outputs))
        msg = f"{spec.name} gives {given or 'none of these'}; it was asked for {asked}."
        raise InputError(msg)
    _check_layer(spec, want.layer, -1 - spec.n_layers)
    if want.attention is not None:
        _check_layer(spec, want.attention.layer, -spec.n_layers)
        if want.attention.heads == ():
            msg = "Found heads=(); expected numbers of heads, one at least, or None for all of them."
            raise InputError(msg)
    if want.pooling is not None and want.pooling not in spec.poolings:
        expected = " or ".join(map(repr, spec.poolings)) or "None"
        msg = f"Found pooling={want.pooling!r}; expected {expected} for {spec.name}."
        raise InputError(msg)


def _check_layer(spec: ModelSpec, layer: int | None, lowest: int) -> None:
    if layer is None or (spec.n_layers and lowest <= layer <= -1):
        return
    which = f"-1 (the last layer) to {lowest}" if spec.n_layers else "None"
    msg = f"Found output_layer={layer}; expected {which} for {spec.name}, which has {spec.n_layers} layers."
    raise InputError(msg)
