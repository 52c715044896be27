"""scGPT models that are made anew, and models that are written down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.torch import save_file

from ...checkpoints import LoadReport
from ..seeded import seeded
from ..trainable import OWN_LICENCE
from .files import CLS, CONVERTED, EOC, PAD
from .network import ScgptConfig, ScgptNetwork
from .options import OF_TRAINING, Options

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
    attention_dropout: float = 0.0,
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
    dropout, attention_dropout
        Shares that training drops, of rows and of the weights of attention. The published model was trained with 0.2 of
        both; the second costs several times the memory of all else.
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
        attention_dropout=attention_dropout,
        flags=True,
    )
    with seeded(seed):
        network = ScgptNetwork(config)
        # As the authors begin it: a norm follows, so that a smaller table learns faster.
        torch.nn.init.uniform_(network.encoder.embedding.weight, -0.1, 0.1)
    options = Options(max_length=max_length)
    spec = spec_of(vocabulary, network, options, PAD_VALUE, OWN_LICENCE)
    return Scgpt(network, spec, options, LoadReport(source="new weights", layout="scGPT", placed=()), PAD_VALUE)


def write_scgpt(model: Scgpt, folder: Path) -> None:
    """Write ``args.json``, ``vocab.json`` and ``model.safetensors``."""
    config = model.network.config
    options = {name: getattr(model.options, name) for name in OF_TRAINING if name in dict(model.options.told)}
    args: dict[str, Any] = {
        "embsize": config.dim,
        "nheads": config.n_heads,
        "d_hid": config.dim_hidden,
        "nlayers": config.n_layers,
        "dropout": config.dropout,
        "attention_dropout": config.attention_dropout,
        "n_bins": config.n_bins,
        "pad_value": model.pad_value,
        "input_emb_style": config.value_style,
        "mvc_decoder_style": config.mvc,
        "licence": model.spec.licence,
        "options": options,
    }
    folder.mkdir()
    (folder / "args.json").write_text(json.dumps(args, indent=1), encoding="utf-8")
    ids = {name: at for at, name in enumerate(model.spec.genes.tolist())}
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False), encoding="utf-8")
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.network.state_dict().items()}
    save_file(tensors, folder / CONVERTED)
