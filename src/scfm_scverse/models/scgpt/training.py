"""scGPT models that are made anew, and models that are written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import save_file

from ...checkpoints import LoadReport
from ..seeded import seeded
from .decoders import ClassDecoder
from .files import CLS, CONVERTED, EOC, PAD
from .network import ScgptConfig, ScgptNetwork
from .options import Options

if TYPE_CHECKING:
    from .model import Scgpt

SPECIAL = (PAD, CLS, EOC)
PAD_VALUE = -2.0


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    dim: int = 512,
    n_layers: int = 12,
    n_heads: int = 8,
    dim_hidden: int | None = None,
    dropout: float = 0.0,
    max_length: int = 1200,
) -> Scgpt:
    """Make a scGPT with new weights, for these genes.

    Parameters
    ----------
    genes
        Symbols of the vocabulary, each once.
    seed
        Of the weights.
    dim, n_layers, n_heads, dim_hidden
        Sizes of the transformer; the defaults are those of the published model. ``dim_hidden=None`` is ``dim``.
    dropout
        Share that training drops. The published model was trained with 0.2.
    max_length
        Tokens of a cell at most, <cls> included.
    """
    from .model import Scgpt, spec_of

    vocabulary = np.array([*SPECIAL, *genes], dtype=np.str_)
    config = ScgptConfig(
        n_tokens=len(vocabulary),
        pad=0,
        dim=dim,
        n_heads=n_heads,
        dim_hidden=dim if dim_hidden is None else dim_hidden,
        n_layers=n_layers,
        dropout=dropout,
        flags=True,
    )
    with seeded(seed):
        network = ScgptNetwork(config)
    options = Options(max_length=max_length)
    spec = spec_of(vocabulary, network, options, PAD_VALUE)
    return Scgpt(network, spec, options, LoadReport(source="new weights", layout="scGPT", placed=()), PAD_VALUE)


def new_class_head(network: ScgptNetwork, n: int, seed: int) -> ClassDecoder:
    """Make the decoder of classes that the authors fine-tune, of three layers."""
    network.config = replace(network.config, n_classes=n, n_layers_cls=3)
    with seeded(seed):
        return ClassDecoder(network.config.dim, n, 3, torch.nn.ReLU)


def write_scgpt(model: Scgpt, folder: Path) -> None:
    """Write ``args.json``, ``vocab.json`` and ``model.safetensors``."""
    config = model.network.config
    args = {
        "embsize": config.dim,
        "nheads": config.n_heads,
        "d_hid": config.dim_hidden,
        "nlayers": config.n_layers,
        "dropout": config.dropout,
        "n_bins": config.n_bins,
        "pad_value": model.pad_value,
        "input_emb_style": config.value_style,
    }
    folder.mkdir()
    (folder / "args.json").write_text(json.dumps(args, indent=1), encoding="utf-8")
    ids = {name: at for at, name in enumerate(model.spec.genes.tolist())}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    save_file(tensors, folder / CONVERTED)
