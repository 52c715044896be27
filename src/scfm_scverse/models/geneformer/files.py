"""A Geneformer folder as its authors release it: ``config.json`` and the weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..._errors import CheckpointError
from ...checkpoints import LoadReport, place, read_json, read_tensors
from ...nn import unfilled
from .heads import CellClassifier, GeneClassifier, MaskedHead, MultiTaskHead
from .network import Network, Sizes

WEIGHTS = ("model.safetensors", "pytorch_model.bin")

# How names begin in the file and in the network; "#" stands for a number.
_LAYER = "bert.encoder.layer.#."
_NAMES = (
    ("bert.embeddings.word_embeddings.", "word."),
    ("bert.embeddings.position_embeddings.", "position."),
    ("bert.embeddings.token_type_embeddings.", "kind."),
    ("bert.embeddings.LayerNorm.", "norm."),
    (_LAYER + "attention.output.dense.", "encoder.layers.#.out_proj."),
    (_LAYER + "attention.output.LayerNorm.", "encoder.layers.#.norm1."),
    (_LAYER + "intermediate.dense.", "encoder.layers.#.linear1."),
    (_LAYER + "output.dense.", "encoder.layers.#.linear2."),
    (_LAYER + "output.LayerNorm.", "encoder.layers.#.norm2."),
    ("cls.predictions.transform.dense.", "head.dense."),
    ("cls.predictions.transform.LayerNorm.", "head.norm."),
    ("cls.predictions.bias", "head.bias"),
    ("bert.pooler.dense.", "head.pooler."),
    ("classifier.", "head.classifier."),
    ("attention_pool.attention_weights", "head.attention"),
    ("classification_heads.#.", "head.tasks.#."),
)
_JOINED = ("query", "key", "value")
HEADS: dict[type, str] = {
    MaskedHead: "masked genes",
    CellClassifier: "cell classifier",
    GeneClassifier: "gene classifier",
    MultiTaskHead: "several tasks",
    type(None): "no head",
}
_IGNORED = {
    r"bert\.embeddings\.position_ids": "positions are counted, not stored",
    r"cls\.predictions\.decoder\..*": "the decoder is the table of word embeddings",
    r"head\.pooler\..*": "no output of this model goes through the pooler",
}


def weights_file(folder: Path) -> Path:
    """Return the file of weights of a folder, safetensors first."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    msg = f"{folder} holds neither {' nor '.join(WEIGHTS)}; expected one of them beside config.json."
    raise CheckpointError(msg)


def read_sizes(path: Path) -> tuple[Sizes, dict[str, Any]]:
    """Return the sizes that a ``config.json`` tells, and the whole of it."""
    config = read_json(path)

    def whole(key: str) -> int:
        value = config.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            msg = f"{path} says {key}={value!r}; expected a whole number above 0."
            raise CheckpointError(msg)
        return value

    def share(key: str, usual: float) -> float:
        value = config.get(key, usual)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1:
            msg = f"{path} says {key}={value!r}; expected a number from 0 to 1."
            raise CheckpointError(msg)
        return float(value)

    sizes = Sizes(
        n_genes=whole("vocab_size"),
        context=whole("max_position_embeddings"),
        dim=whole("hidden_size"),
        n_layers=whole("num_hidden_layers"),
        n_heads=whole("num_attention_heads"),
        dim_hidden=whole("intermediate_size"),
        eps=share("layer_norm_eps", 1e-12),
        dropout=share("hidden_dropout_prob", 0.0),
    )
    expected = {"hidden_act": "relu", "position_embedding_type": "absolute"}
    for key, value in expected.items():
        if config.get(key, value) != value:
            msg = f"{path} says {key}={config[key]!r}; expected {value!r}, as every Geneformer has."
            raise CheckpointError(msg)
    if sizes.dim % sizes.n_heads:
        msg = f"{path} says hidden_size={sizes.dim} and {sizes.n_heads} heads; expected a multiple of the heads."
        raise CheckpointError(msg)
    return sizes, config


def load_network(path: Path, sizes: Sizes, facts: Mapping[str, str]) -> tuple[Network, LoadReport]:
    """Build the network and give it the weights of a file, float32.

    Raises
    ------
    CheckpointError
        A tensor is missing or of another shape, or the number of layers is not that of ``config.json``.
    """
    stored = read_tensors(path)
    n_layers = len({found[1] for found in map(re.compile(_pattern(_LAYER)).match, stored) if found})
    if n_layers != sizes.n_layers:
        msg = f"{path} holds {n_layers} layers; expected {sizes.n_layers}, as config.json says."
        raise CheckpointError(msg)
    _check_tied(stored, path)
    tensors, names = rename(stored, n_layers)
    with unfilled():
        network = Network(sizes, make_head(tensors, sizes))
    names = {name: name_in_file(name) for name in network.state_dict()} | names
    layout = f"Geneformer, {HEADS[type(network.head)]}"
    found = place(network, tensors, source=str(path), layout=layout, ignored=_IGNORED, names=names, facts=facts)
    return network.eval(), found


def make_head(tensors: Mapping[str, Tensor], sizes: Sizes) -> nn.Module | None:
    """Return the head that the tensors are of, by the names in the network."""

    def rows(name: str) -> int:
        return len(tensors[name]) if tensors[name].ndim else 0

    tasks = sum(bool(re.fullmatch(r"head\.tasks\.\d+\.weight", name)) for name in tensors)
    if tasks:
        classes = [rows(name) if name in tensors else 1 for name in (f"head.tasks.{t}.weight" for t in range(tasks))]
        return MultiTaskHead(sizes.dim, classes, pools="head.attention" in tensors, dropout=sizes.dropout)
    if "head.classifier.weight" in tensors:
        of_cells = any(name.startswith("head.pooler.") for name in tensors)
        return (CellClassifier if of_cells else GeneClassifier)(
            sizes.dim, rows("head.classifier.weight"), sizes.dropout
        )
    if any(name.startswith(("head.dense.", "head.norm.", "head.bias")) for name in tensors):
        return MaskedHead(sizes.n_genes, sizes.dim, sizes.eps)
    return None


def rename(stored: Mapping[str, Tensor], n_layers: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors under the names of the network, and what the file calls them; queries, keys and values are joined."""
    stored = dict(stored)
    tensors, names = {}, {}
    for layer in range(n_layers):
        for part in ("weight", "bias"):
            theirs = [_of_attention(layer, one, part) for one in _JOINED]
            missing = [name for name in theirs if name not in stored]
            ours = f"encoder.layers.{layer}.in_proj.{part}"
            names[ours] = missing[0] if missing else f"{theirs[0]} + key + value"
            parts = [stored.pop(name) for name in theirs if name in stored]
            if not missing and len({one.shape[1:] for one in parts}) == 1:
                tensors[ours] = torch.cat(parts)
    for name, tensor in stored.items():
        ours = _renamed(name, _NAMES)
        tensors[ours], names[ours] = tensor, name
    return tensors, names


def names_of_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of the network under the names of a file, as :func:`rename` reads them."""
    stored = {}
    for name, tensor in tensors.items():
        joined = re.fullmatch(r"encoder\.layers\.(\d+)\.in_proj\.(weight|bias)", name)
        if joined is None:
            stored[name_in_file(name)] = tensor
            continue
        for one, part in zip(_JOINED, tensor.chunk(3), strict=True):
            stored[_of_attention(int(joined[1]), one, joined[2])] = part.clone()
    return stored


def _of_attention(layer: int, one: str, part: str) -> str:
    return f"bert.encoder.layer.{layer}.attention.self.{one}.{part}"


def name_in_file(name: str) -> str:
    """Return what the file calls a parameter of the network."""
    return _renamed(name, tuple((ours, theirs) for theirs, ours in _NAMES))


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        found = re.match(_pattern(old), name)
        if found:
            return new.replace("#", found[found.lastindex or 0]) + name[found.end() :]
    return name


def _pattern(beginning: str) -> str:
    return re.escape(beginning).replace(re.escape("#"), r"(\d+)")


def _check_tied(stored: Mapping[str, Tensor], path: Path) -> None:
    """The decoder that some files carry must be what runs in its place: the word embeddings and the head's bias."""
    for name, ours in (("weight", "bert.embeddings.word_embeddings.weight"), ("bias", "cls.predictions.bias")):
        decoder = stored.get(f"cls.predictions.decoder.{name}")
        if decoder is not None and ours in stored and not torch.equal(decoder, stored[ours]):
            msg = f"{path} holds a 'cls.predictions.decoder.{name}' of its own; expected it to be {ours!r}, tied."
            raise CheckpointError(msg)
