"""scFoundation models that are made anew, and models that are written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...checkpoints import LoadReport
from ...checkpoints.tensors import write_weights
from ...nn.identity import lasting_tensors
from ..seeded import seeded
from ..trainable import OWN_LICENCE
from .decoder import DecoderSizes
from .files import LAYOUT, name_in_file
from .heads import CellClassifier
from .network import ScFoundationNetwork, Sizes
from .options import Options

if TYPE_CHECKING:
    from .model import ScFoundation

MASK, PAD = 102, 103  # values that stand for these, as in the released model


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    dim: int = 768,
    n_layers: int = 12,
    n_heads: int = 12,
    decoder_dim: int = 512,
    decoder_layers: int = 6,
    decoder_heads: int = 8,
    decoder_dim_head: int = 64,
    n_bins: int = 100,
    dropout: float = 0.0,
) -> ScFoundation:
    """Make a scFoundation with new weights, encoder and decoder, for these genes.

    Parameters
    ----------
    genes
        Symbols of the list, each once.
    seed
        Of the weights.
    dim, n_layers, n_heads
        Sizes of the encoder; the defaults are those of the published model.
    decoder_dim, decoder_layers, decoder_heads, decoder_dim_head
        Sizes of the decoder.
    n_bins
        Vectors that a value is a mixture of.
    dropout
        Share that training drops in the encoder. The published model was trained with 0.1.
    """
    from .model import ScFoundation, spec_of

    names = np.array(list(genes), dtype=np.str_)
    sizes = Sizes(
        n_positions=len(names) + 2,
        dim=dim,
        n_layers=n_layers,
        n_heads=n_heads,
        n_bins=n_bins,
        bin_alpha=1.0,
        mask=MASK,
        pad=PAD,
        decoder=DecoderSizes(decoder_dim, decoder_layers, decoder_heads, decoder_dim_head),
        dropout=dropout,
    )
    with seeded(seed):
        network = ScFoundationNetwork(sizes)
    options = Options()
    spec = spec_of("gene", names, network, options, OWN_LICENCE)
    return ScFoundation(network, "gene", spec, options, LoadReport(source="new weights", layout=LAYOUT, placed=()))


def new_classifier(network: ScFoundationNetwork, n: int, seed: int) -> CellClassifier:
    """Make the classifier that the authors fine-tune."""
    network.sizes = replace(network.sizes, n_classes=n)
    with seeded(seed):
        made = CellClassifier(network.sizes.dim, n)
    return made.to(network.embedding.pos_emb.weight).train(network.training)


def write_scfoundation(model: ScFoundation, folder: Path) -> None:
    """Write ``model.safetensors``, whose header holds the settings, and ``genes.tsv``."""
    settings = {**_settings(model.network.sizes), "licence": model.spec.licence}
    config = {"model": "mae_autobin", "model_config": {"mae_autobin": settings}, "dataset_config": {"rnaseq": {}}}
    tensors = {f"model.{name_in_file(name)}": tensor for name, tensor in lasting_tensors(model.network).items()}
    folder.mkdir()
    write_weights(folder / "model.safetensors", {model.key: {"config": config, "state_dict": tensors}})
    lines = [f"{name}\t{at}" for at, name in enumerate(model.spec.genes[: model.n_genes].tolist())]
    (folder / "genes.tsv").write_text("\n".join(["gene_name\tindex", *lines]) + "\n", encoding="utf-8")


def _settings(sizes: Sizes) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "encoder": {"hidden_dim": sizes.dim, "depth": sizes.n_layers, "heads": sizes.n_heads},
        "seq_len": sizes.n_positions,
        "bin_num": sizes.n_bins,
        "bin_alpha": sizes.bin_alpha,
        "mask_token_id": sizes.mask,
        "pad_token_id": sizes.pad,
        "dropout": sizes.dropout,
    }
    if sizes.decoder is not None:
        one = sizes.decoder
        settings["decoder"] = {
            "hidden_dim": one.dim,
            "depth": one.n_layers,
            "heads": one.n_heads,
            "dim_head": one.dim_head,
        }
    return settings
