"""Latent transformers that are made anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..._errors import InputError
from ...checkpoints import LoadReport
from ..seeded import seeded
from .files import MARK, misfit, spec_of
from .network import LatentNetwork, Sizes

if TYPE_CHECKING:
    from .model import ScfmLatent


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    dim: int = 256,
    n_layers: int = 6,
    n_heads: int = 8,
    n_latents: int = 48,
    n_reads: int = 2,
    organism: Literal["human", "mouse"] = "human",
) -> ScfmLatent:
    """Make a latent transformer with new weights, for these genes.

    Parameters
    ----------
    genes
        Names of the vocabulary, each once: symbols or Ensembl ids.
    seed
        Of the weights.
    dim, n_layers, n_heads
        Width, layers and heads.
    n_latents
        Vectors that a cell is read into. Attention costs their number times that of the expressed genes.
    n_reads
        Layers that begin with reading the genes.
    organism
        Organism of the genes.

    Raises
    ------
    InputError
        Sizes that do not go together.
    """
    from .model import ScfmLatent

    names = np.array(list(genes), np.str_)
    sizes = Sizes(len(names), dim, n_layers, n_heads, n_latents, n_reads)
    wrong = misfit(sizes)
    if wrong:
        msg = f"Found {wrong}"
        raise InputError(msg)
    with seeded(seed):
        network = LatentNetwork(sizes)
    report = LoadReport(source="new weights", layout=MARK, placed=())
    return ScfmLatent(network, spec_of(network, names, organism), report)
