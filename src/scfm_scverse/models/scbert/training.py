"""scBERTs that are made anew, and scBERTs that are written down."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..._errors import InputError
from ...checkpoints import LoadReport
from ...checkpoints.tensors import write_weights
from ..seeded import seeded
from ..trainable import OWN_LICENCE
from .files import LAYOUT, contents_of
from .network import Classifier, Network, Sizes

if TYPE_CHECKING:
    from .model import ScBERT

N_TOKENS = 7


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    vectors: NDArray[np.floating] | None = None,
    dim: int = 200,
    n_layers: int = 6,
    n_heads: int = 10,
    dim_head: int = 64,
    dim_hidden: int | None = None,
) -> ScBERT:
    """Make a scBERT with new weights and the head of levels, for these genes.

    Parameters
    ----------
    genes
        Symbols of the genes in the order of the positions, each once.
    seed
        Of the weights, of the projections of its attention, and of the vectors of genes where none are given.
    vectors
        Vector of each gene, [g, d], which is never trained; the authors took those of gene2vec. ``None`` draws them,
        normal with the spread of the first vectors of levels.
    dim, n_layers, n_heads, dim_head, dim_hidden
        Sizes of the transformer; the defaults are those of the published model. ``dim_hidden=None`` is 4 ``dim``.

    Raises
    ------
    InputError
        Vectors of another shape, or heads narrower than 3.
    """
    from .model import ScBERT, spec_of

    if vectors is not None and vectors.shape != (len(genes), dim):
        msg = f"Found vectors of shape {vectors.shape}; expected one of {dim} numbers for each of {len(genes):,} genes."
        raise InputError(msg)
    if dim_head < 3:
        msg = f"Found dim_head={dim_head}; expected 3 or more, since int(d ln d) random features are made of d."
        raise InputError(msg)
    sizes = Sizes(
        n_positions=len(genes) + 1,
        n_tokens=N_TOKENS,
        dim=dim,
        n_layers=n_layers,
        n_heads=n_heads,
        dim_head=dim_head,
        dim_hidden=4 * dim if dim_hidden is None else dim_hidden,
    )
    with seeded(seed):
        network = Network(sizes)
        drawn = torch.randn(len(genes), dim) if vectors is None else torch.as_tensor(vectors, dtype=torch.float32)
    network.gene_emb[:-1] = drawn
    spec = spec_of(network, np.array(list(genes), np.str_), (), "default", OWN_LICENCE)
    return ScBERT(network, spec, (), "default", LoadReport(source="new weights", layout=LAYOUT, placed=()))


def new_class_head(network: Network, n: int, seed: int) -> Classifier:
    """Make the head of classes of cells that the authors fine-tune."""
    with seeded(seed):
        head = Classifier(len(network.gene_emb), network.gene_emb.shape[1], n)
    return head.to(network.gene_emb).train(network.training)


def write_scbert(model: ScBERT, folder: Path) -> None:
    """Write ``model.safetensors``: the tensors as the authors name them, the names of genes and classes beside them."""
    folder.mkdir()
    found = contents_of(model.network, model.spec.genes[:-1].tolist(), model.classes, model.spec.licence)
    write_weights(folder / "model.safetensors", found)
