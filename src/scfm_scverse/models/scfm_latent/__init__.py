"""A transformer of ours: a cell is read into a few latents, which any gene can be asked of.

What it is made of, and why:

1. **A gene that is expressed** is ``gene * (1 + scale(value)) + shift(value)``: the value turns the vector of the gene
   itself and not only adds to it, so that "much of this gene" need not be built by the layers. ``scale`` and ``shift``
   are piecewise linear in the logarithm of one plus counts per 10,000, which lies between 0 and log(10,001) in every
   cell: there are no edges of bins for a count to fall on either side of, and nothing is drawn.
2. **Zeros are no tokens.** The network is trained to take a gene without a token for one that it was not shown, so
   genes that a panel lacks need no mark, and cost nothing.
3. **Latents.** Some 48 vectors, the same for all cells at first, attend to the genes; the layers then run on these. The
   cost of a cell grows linearly with its genes, and only by the encoder of genes and one product of attention a read.
   Keys and values of the genes are made once and read twice, the second time with what the cell has become known to be.
4. **A decoder that is asked for genes**, one by one: the vector of the gene is the query, what the latents answer
   scales and shifts it, the mirror of 1. It tells the value of the gene where it is expressed and the odds that it is,
   for hidden genes in training and for genes that the data never measured alike.
5. **The first latent is the vector of the cell.** Training also asks it alone for the genes, so that it must hold the
   cell; see :class:`scfm_scverse.training.objectives.MaskedValues`.

Every sublayer is normalised first, so that depth needs no careful start. Norms and softmax add in float32 whatever the
weights are kept in; values enter in float32. There is no dropout: at one or a few epochs nothing is seen often enough
to be learned by heart.

References
----------
Latents that read long inputs: Jaegle et al. (2021), Perceiver. Queries that ask them for outputs: Jaegle et al. (2022),
Perceiver IO. Encoders that see only what is not hidden: He et al. (2022), masked autoencoders; Hao et al. (2024),
scFoundation. Vectors that are scaled and shifted: Perez et al. (2018), FiLM.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .model import ScfmLatent


def recognises(path: Path) -> bool:
    """Whether this is a folder whose ``config.json`` says that it is ours."""
    config = path / "config.json"
    return config.is_file() and b'"scfm-latent"' in config.read_bytes()


def load(path: Path) -> ScfmLatent:
    """Load a latent transformer from the folder that it was written to.

    Parameters
    ----------
    path
        Folder with ``config.json``, ``genes.txt`` and ``model.safetensors``.

    Raises
    ------
    CheckpointError
        A file that is missing, damaged, lacks a tensor or does not fit the others.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> model = scfm.models.load("my-latent-transformer")  # doctest: +SKIP
    """
    from .files import read_folder

    return read_folder(path)
