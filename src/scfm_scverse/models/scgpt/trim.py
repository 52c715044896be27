"""A model of fewer genes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..._errors import InputError
from ...nn import unfilled
from .files import CLS, EOC, PAD
from .network import ScgptNetwork

if TYPE_CHECKING:
    from .model import Scgpt

_TABLE = "encoder.embedding.weight"


def trim(model: Scgpt, keep: NDArray[np.integer]) -> Scgpt:
    """Copy a model without the genes that a data set does not have: most of scGPT's weights are vectors of genes.

    It makes the same of the same tokens. Where ties are drawn by the set of expressed genes, others are drawn.

    Parameters
    ----------
    model
        The model, which stays as it is.
    keep
        Positions in the vocabulary of the genes to keep; special tokens are kept too. The order stays that of the
        vocabulary.

    Raises
    ------
    InputError
        A position that the vocabulary does not have.

    Examples
    --------
    >>> import scfm_scverse as scfm
    >>> from scfm_scverse.models.scgpt.trim import trim
    >>> model = scfm.models.create("scgpt", ["CD3E", "LYZ", "MS4A1"], dim=16, n_layers=2, n_heads=2)
    >>> trim(model, [4]).spec.genes.tolist()
    ['<pad>', '<cls>', '<eoc>', 'LYZ']
    """
    from .model import Scgpt, spec_of

    genes, positions = model.spec.genes, np.asarray(keep, np.int64)
    if len(positions) and not 0 <= positions.min() <= positions.max() < len(genes):
        msg = (
            f"Found positions from {positions.min()} to {positions.max()} to keep; expected some of the vocabulary of "
            f"{len(genes):,}, from 0: leave out -1, which stands for genes that the model does not know."
        )
        raise InputError(msg)
    kept = np.union1d(positions, np.flatnonzero(np.isin(genes, (PAD, CLS, EOC))))
    vocabulary = genes[kept]
    config = replace(model.network.config, n_tokens=len(kept), pad=vocabulary.tolist().index(PAD))
    rows = torch.from_numpy(kept)
    state = {name: one.clone() for name, one in model.network.state_dict().items() if name != _TABLE}
    state[_TABLE] = model.network.encoder.embedding.weight.detach()[rows]
    with unfilled():
        network = ScgptNetwork(config)
    network.load_state_dict(state, assign=True)
    trained = {name: one.requires_grad for name, one in model.network.named_parameters()}
    for name, one in network.named_parameters():
        one.requires_grad_(trained[name])
    spec = spec_of(vocabulary, network, model.options, model.pad_value, model.spec.licence)
    return Scgpt(network, spec, model.options, model.report(), model.pad_value)
