"""The network that a checkpoint's tensors call for, with those tensors in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..._errors import CheckpointError
from ...checkpoints import LoadReport, place
from ...nn import unfilled
from .decoders import MVCStyle
from .files import PAD, Checkpoint
from .network import ScgptConfig, ScgptNetwork, ValueStyle

if TYPE_CHECKING:
    from torch import Tensor

LAYOUT = "scGPT (args.json, vocab.json, best_model.pt)"
MOST_VALUES = 2**15  # bins are numbers of 16 bits
_TABLE = "encoder.embedding.weight"
# Parts of models that this network is not: what another class reads.
_OTHERS = {
    r"value_encoder\..*": "of another encoder of values",
    r"decoder\..*|mvc_decoder\..*": "of a decoder that reads more than the cell's rows and batch",
}


def build_network(checkpoint: Checkpoint) -> tuple[ScgptNetwork, LoadReport]:
    """Return the network in float32 and evaluation mode, and what became of every tensor.

    Raises
    ------
    CheckpointError
        A tensor is missing or of another shape, or the three files contradict each other.
    """
    config = config_of(checkpoint)
    with unfilled():
        network = ScgptNetwork(config)
    facts = {
        "vocabulary": f"{config.n_tokens:,} tokens",
        "network": f"{config.n_layers} layers, width {config.dim}, {config.n_heads} heads",
        "attention": f"{checkpoint.naming} naming",
        "bins": _bins_told(config, checkpoint.args.get("n_bins")),
    }
    if checkpoint.appended:
        facts["appended to the vocabulary"] = ", ".join(checkpoint.appended)
    report = place(
        network,
        checkpoint.tensors,
        source=str(checkpoint.weights),
        layout=LAYOUT,
        ignored=_OTHERS,
        names=checkpoint.names,
        facts=facts,
    )
    return network.eval(), report


def config_of(checkpoint: Checkpoint) -> ScgptConfig:
    """Read the sizes off the tensors, and from ``args.json`` what they do not tell.

    Raises
    ------
    CheckpointError
        A tensor that tells a size is missing, or ``args.json`` or the vocabulary contradict it.
    """
    tensors, args = checkpoint.tensors, checkpoint.args
    n_tokens, dim = _shape(checkpoint, _TABLE)
    if n_tokens != len(checkpoint.vocabulary):
        msg = (
            f"{checkpoint.weights} holds {_TABLE!r} of {n_tokens:,} rows for the {len(checkpoint.vocabulary):,} tokens "
            "of vocab.json (special ones included); expected one row a token: take the vocab.json of this model."
        )
        raise CheckpointError(msg)
    n_layers = _count(tensors, r"transformer_encoder\.layers\.(\d{1,6})\..*")
    dim_hidden = _shape(checkpoint, "transformer_encoder.layers.0.linear1.weight")[0]
    n_heads = _agreed(checkpoint, dim, n_layers, dim_hidden)
    n_domains = _count(tensors, r"dsbn\.bns\.(\d{1,6})\..*")
    n_batches = _reads(tensors, "batch_encoder.embedding.weight", 0)
    n_told_apart = _reads(tensors, "grad_reverse_discriminator.out_layer.weight", 0)
    style = _value_style(tensors, args)
    n_values = _reads(tensors, "value_encoder.embedding.weight", 0)
    if style == "category" and not 4 <= n_values <= MOST_VALUES:
        msg = (
            f"{checkpoint.weights} has {n_values} categories of values; expected 4 or more (two bins, padding and what "
            f"is hidden), and {MOST_VALUES:,} at most."
        )
        raise CheckpointError(msg)
    n_modalities = _reads(tensors, "mod_encoder.embedding.weight", 0)
    dim_in = dim * (2 if n_batches or n_modalities else 1)
    return ScgptConfig(
        n_tokens=n_tokens,
        pad=checkpoint.vocabulary.tolist().index(PAD),
        dim=dim,
        n_heads=n_heads,
        dim_hidden=dim_hidden,
        n_layers=n_layers,
        dropout=number_in(args, "dropout", 0.0),
        # Of our own files: the authors drop in attention as much as elsewhere, which costs most of the memory.
        attention_dropout=number_in(args, "attention_dropout", 0.0),
        value_style=style,
        n_values=n_values,
        norm="dsbn" if n_domains else "batchnorm" if "bn.weight" in tensors else "none",
        n_batches=max(n_domains, n_batches, n_told_apart),
        batch_vectors=n_batches > 0,
        n_modalities=n_modalities,
        zero_prob=any(f"decoder.{part}zero_logit.0.weight" in tensors for part in ("", "coeff_decoder.")),
        perturbation="pert_encoder.weight" in tensors,
        expression=_reads(tensors, "decoder.fc.0.weight", 1) == dim_in,
        mvc=_mvc_style(tensors, args, dim_in if n_modalities else dim, dim_in),
        n_classes=_reads(tensors, "cls_decoder.out_layer.weight", 0),
        n_layers_cls=1 + _count(tensors, r"cls_decoder\._decoder\.(\d{1,6})\..*", every=3),
        discriminator=n_told_apart > 0,
        flags="flag_encoder.weight" in tensors,
    )


def _shape(checkpoint: Checkpoint, name: str) -> tuple[int, ...]:
    tensor = checkpoint.tensors.get(name)
    if tensor is None or tensor.ndim != 2:
        shape = "no" if tensor is None else f"{tuple(tensor.shape)} as"
        msg = f"{checkpoint.weights} holds {shape} tensor {name!r}; expected a matrix in a file of {LAYOUT}."
        raise CheckpointError(msg)
    return tuple(tensor.shape)


def _count(tensors: Mapping[str, Tensor], pattern: str, *, every: int = 1) -> int:
    """Number of parts that are numbered 0, ``every``, 2 ``every``, ... in names."""
    numbers = [int(match[1]) for match in map(re.compile(pattern).fullmatch, tensors) if match]
    # A name may lie about its number; no more parts are built than there are tensors.
    return min(max(numbers) // every + 1, len(tensors)) if numbers else 0


def _agreed(checkpoint: Checkpoint, dim: int, n_layers: int, dim_hidden: int) -> int:
    """Stop where ``args.json`` says other sizes than the tensors; return the number of heads, which only it says."""
    args = checkpoint.args
    for key, size in (("embsize", dim), ("nlayers", n_layers), ("d_hid", dim_hidden)):
        if args.get(key, size) != size:
            msg = f"args.json says {key}={args[key]!r}, {checkpoint.weights} has {size}; expected files of one model."
            raise CheckpointError(msg)
    n_heads = args.get("nheads")
    if type(n_heads) is not int or not 1 <= n_heads <= dim or dim % n_heads:
        msg = f"args.json says nheads={n_heads!r}; expected a number that divides the width {dim}."
        raise CheckpointError(msg)
    return n_heads


def pad_value_of(config: ScgptConfig, args: Mapping[str, Any]) -> float:
    """Value of padding: what ``args.json`` says, and the last category but one where values are categories."""
    return float(config.n_values - 2) if config.value_style == "category" else number_in(args, "pad_value", -2)


def _bins_told(config: ScgptConfig, said: object) -> str:
    if said is None or said == config.n_bins:
        return str(config.n_bins)
    has = f"the {config.n_values} categories have" if config.value_style == "category" else "the authors' embedding has"
    return f"{config.n_bins}, as {has} it; args.json says {said!r}"


def number_in(args: Mapping[str, Any], key: str, default: float) -> float:
    """Return a number of ``args.json``.

    Raises
    ------
    CheckpointError
        It is something else.
    """
    found = args.get(key, default)
    if type(found) not in {int, float}:
        msg = f"args.json says {key}={found!r}; expected a number."
        raise CheckpointError(msg)
    return float(found)


def _value_style(tensors: Mapping[str, Tensor], args: Mapping[str, Any]) -> ValueStyle:
    if "value_encoder.embedding.weight" in tensors:
        return "category"
    return "scaling" if args.get("input_emb_style") == "scaling" else "continuous"


def _reads(tensors: Mapping[str, Tensor], name: str, axis: int) -> int:
    """Size of a matrix along an axis, 0 where it is absent."""
    return tensors[name].shape[axis] if name in tensors and tensors[name].ndim == 2 else 0


def _mvc_style(tensors: Mapping[str, Tensor], args: Mapping[str, Any], dim: int, dim_in: int) -> MVCStyle | None:
    if _reads(tensors, "mvc_decoder.gene2query.weight", 1) != dim:
        return None
    if "mvc_decoder.fc1.weight" not in tensors:
        inner: MVCStyle = "inner product"
        if args.get("mvc_decoder_style") == "inner product, detach":  # of our own files: the tensors are the same
            inner = "inner product, detach"
        return inner if _reads(tensors, "mvc_decoder.W.weight", 0) == dim_in else None
    return "sum query" if _reads(tensors, "mvc_decoder.gene2query.weight", 0) == dim else "concat query"
