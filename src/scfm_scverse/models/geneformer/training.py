"""Geneformers that are made anew, and Geneformers that are written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save_file
from torch import nn

from ..._errors import InputError
from ...checkpoints import LoadReport
from ...nn.identity import lasting_tensors
from ..seeded import seeded
from ..trainable import OWN_LICENCE
from .dictionaries import SPECIAL, Version, make_dictionaries, shipped, write_dictionaries
from .files import WEIGHTS, names_of_file
from .heads import CellClassifier, GeneClassifier, MaskedHead, MultiTaskHead
from .network import Network, Sizes
from .spec import spec_of

if TYPE_CHECKING:
    from .model import Geneformer

SPREAD = 0.02  # standard deviation of first weights
ARCHITECTURES: dict[type, str] = {
    MaskedHead: "BertForMaskedLM",
    CellClassifier: "BertForSequenceClassification",
    GeneClassifier: "BertForTokenClassification",
    MultiTaskHead: "GeneformerMultiTask",
    type(None): "BertModel",
}


def create(
    genes: Sequence[str],
    *,
    seed: int = 0,
    version: Version = "V2",
    medians: Mapping[str, float] | None = None,
    dim: int = 768,
    n_layers: int = 12,
    n_heads: int = 12,
    dim_hidden: int | None = None,
    dropout: float = 0.0,
    max_length: int = 4096,
) -> Geneformer:
    """Make a Geneformer with new weights and the head of masked genes, for these genes.

    Parameters
    ----------
    genes
        Ensembl ids of the vocabulary, each once.
    seed
        Of the weights.
    version
        ``"V2"`` puts ``<cls>`` before and ``<eos>`` behind the genes of a cell, ``"V1"`` does not.
    medians
        Typical level of genes, in counts per 10,000 of the cells that express them. A gene without one has that of the
        published tables of this version, and the median of that table where it is not in there.
    dim, n_layers, n_heads, dim_hidden
        Sizes of the transformer; the defaults are those of Geneformer-V2-104M. ``dim_hidden=None`` is 4 ``dim``.
    dropout
        Share that training drops. The published models were trained with 0.02 and 0.1.
    max_length
        Tokens of a cell at most, special ones included; 2,048 in the published V1.

    Raises
    ------
    InputError
        A version that does not exist.
    """
    from .model import Geneformer

    if version not in SPECIAL:
        msg = f"Found version={version!r}; expected 'V1' or 'V2'."
        raise InputError(msg)
    tokens = {name: at for at, name in enumerate([*SPECIAL[version], *genes])}
    dictionaries = make_dictionaries(
        tokens, _medians(genes, version, medians or {}), None, n_genes=len(tokens), source="made with the model"
    )
    sizes = Sizes(
        n_genes=len(tokens),
        context=max_length,
        dim=dim,
        n_layers=n_layers,
        n_heads=n_heads,
        dim_hidden=4 * dim if dim_hidden is None else dim_hidden,
        eps=1e-12,
        dropout=dropout,
    )
    with seeded(seed):
        network = Network(sizes, MaskedHead(sizes.n_genes, dim, sizes.eps))
        _draw(network)
    nn.init.zeros_(network.word.weight[0])  # <pad>
    spec = spec_of(network, dictionaries, "default", OWN_LICENCE)
    report = LoadReport(source="new weights", layout="Geneformer, masked genes", placed=())
    return Geneformer(network, spec, dictionaries, report, "default", ())


def _medians(genes: Sequence[str], version: Version, given: Mapping[str, float]) -> dict[str, float]:
    known = shipped(version)
    usual = float(np.nanmedian(known.medians))
    found = {name: float(known.medians[known.token[name]]) if name in known.token else usual for name in genes}
    return found | dict(given)


def _draw(part: nn.Module) -> None:
    """Draw first weights as BERT's are: small and normal, biases 0."""
    for layer in part.modules():
        if isinstance(layer, nn.Linear | nn.Embedding):
            nn.init.normal_(layer.weight, std=SPREAD)
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)


def new_class_head(network: Network, n: int, seed: int) -> CellClassifier:
    """Make the head of classes of cells that the authors fine-tune."""
    with seeded(seed):
        head = CellClassifier(network.sizes.dim, n, network.sizes.dropout)
        _draw(head)
    return head.to(network.word.weight).train(network.training)


def write_geneformer(model: Geneformer, folder: Path) -> None:
    """Write ``config.json``, ``model.safetensors`` and the dictionaries."""
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(_config(model), indent=1), encoding="utf-8")
    write_dictionaries(model.dictionaries, folder)
    tensors = names_of_file(lasting_tensors(model.network))
    # Whoever reads such files with the transformers library needs to be told the format.
    save_file(tensors, folder / WEIGHTS[0], metadata={"format": "pt"})


def _config(model: Geneformer) -> dict[str, Any]:
    sizes = model.network.sizes
    config: dict[str, Any] = {
        "architectures": [ARCHITECTURES[type(model.network.head)]],
        "model_type": "bert",
        "vocab_size": sizes.n_genes,
        "max_position_embeddings": sizes.context,
        "hidden_size": sizes.dim,
        "num_hidden_layers": sizes.n_layers,
        "num_attention_heads": sizes.n_heads,
        "intermediate_size": sizes.dim_hidden,
        "hidden_act": "relu",
        "hidden_dropout_prob": sizes.dropout,
        "attention_probs_dropout_prob": 0.0,
        "initializer_range": SPREAD,
        "layer_norm_eps": sizes.eps,
        "pad_token_id": 0,
        "position_embedding_type": "absolute",
        "type_vocab_size": 2,
        "licence": model.spec.licence,
    }
    if model.classes:
        config["id2label"] = {str(at): name for at, name in enumerate(model.classes)}
        config["label2id"] = {name: at for at, name in enumerate(model.classes)}
    return config
