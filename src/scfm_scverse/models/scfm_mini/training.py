"""Models of the kind of scfm-mini that are made anew."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..._errors import InputError
from .files import MiniWeights, spec_of, tensors_of
from .model import ScfmMini


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    dim: int = 256,
    ridge: float = 0.1,
    mean: NDArray[np.floating] | None = None,
    sd: NDArray[np.floating] | None = None,
) -> ScfmMini:
    """Make a linear model with random gene vectors.

    Parameters
    ----------
    genes
        Ensembl ids of human genes, each once.
    seed
        Of the vectors.
    dim
        Width of a cell's vector.
    ridge
        Strength of the penalty on a cell's vector.
    mean, sd
        Typical mean and standard deviation of log values of each gene, [v], which are not learned. ``None`` leaves log
        values as they are.

    Raises
    ------
    InputError
        A name is no Ensembl id, or there are more or fewer numbers than genes.
    """
    wrong = [name for name in genes if not re.fullmatch(r"ENSG\d{11}", name)]
    names = np.array(list(genes), np.str_)
    if wrong:
        msg = f"Found the gene {wrong[0]!r}; expected Ensembl ids of human genes (ENSG and 11 digits)."
        raise InputError(msg)
    centre, spread = (
        np.full(len(names), default, np.float32) if given is None else np.asarray(given, np.float32)
        for default, given in ((0, mean), (1, sd))
    )
    fits = centre.shape == spread.shape == names.shape
    if not (fits and np.isfinite([centre, spread]).all() and (spread > 0).all()):
        msg = (
            f"Found mean= of shape {centre.shape} and sd= of shape {spread.shape}; expected finite numbers for "
            f"{len(names):,} genes, those of sd= above 0."
        )
        raise InputError(msg)
    # So large that vectors of cells have about the size of those of the weights that come with the package.
    embedding = np.random.default_rng(seed).standard_normal((len(names), dim)) / np.sqrt(len(names))
    weights = MiniWeights(embedding.astype(np.float32), centre, spread, ridge)
    return ScfmMini(weights, spec_of(tensors_of(weights, names), "new"))
