"""The one interface that every model implements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..tokens import Tokens

if TYPE_CHECKING:
    import torch

Output = Literal["cell"]
"""What a model can be asked for: ``"cell"``, the embedding of each cell."""


@dataclass(frozen=True)
class ModelSpec:
    """What is known of a model without running it.

    Attributes
    ----------
    name
        Name under which :func:`scfm_scverse.models.load` finds it.
    version
        Version of its weights.
    weights_hash
        First 16 hexadecimal digits of the SHA-256 of its weights.
    genes
        Ensembl ids of its vocabulary, [v].
    organism
        Organism of the vocabulary.
    dim
        Width of a cell's embedding.
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

    @property
    def id(self) -> str:
        """Name, version and hash: what a slot remembers of the model that wrote it."""
        return f"{self.name}-{self.version}:{self.weights_hash}"


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
    """

    vocabulary: NDArray[np.int32]
    counted: NDArray[np.bool_]
    base: float


class CellModel(Protocol):
    """A network that turns the tokens of cells into numbers. It knows nothing of AnnData."""

    spec: ModelSpec

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the function that turns CSR blocks of such a matrix into tokens."""
        ...

    def encode(
        self, minibatch: Tokens, want: frozenset[Output], *, device: torch.device, dtype: torch.dtype
    ) -> dict[Output, torch.Tensor]:
        """Compute what is wanted and nothing else; row ``i`` belongs to cell ``i`` of the minibatch."""
        ...
