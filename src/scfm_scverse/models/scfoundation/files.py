"""``models.ckpt`` as the authors release it: three sub-models, each with its sizes and its tensors."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from ..._errors import CheckpointError, InputError
from ...checkpoints import LoadReport, place, read_weights
from ...nn import unfilled
from ...nn.performer import PUBLISHED_NAMES
from .decoder import DecoderSizes
from .network import ScFoundationNetwork, Sizes

Key = Literal["cell", "rde", "gene"]
KEYS: tuple[Key, ...] = ("cell", "rde", "gene")
LAYOUT = "scFoundation (models.ckpt)"

# Names in the network -> names in the file; the first pattern that fits counts.
_NAMES = (
    (r"embedding\.", ""),
    (r"transformer\.encoder\.layers\.(\d+)\.in_proj\.", r"encoder.transformer_encoder.\1.self_attn.in_proj_"),
    (r"transformer\.encoder\.layers\.(\d+)\.out_proj\.", r"encoder.transformer_encoder.\1.self_attn.out_proj."),
    (r"transformer\.encoder\.layers\.", "encoder.transformer_encoder."),
    (r"transformer\.norm\.", "encoder.norm."),
    (r"decoder\.embed\.", "decoder_embed."),
    (r"decoder\.performer\.calls$", "decoder.performer.calls_since_last_redraw"),
    *(
        (rf"decoder\.performer\.layers\.(\d+)\.{re.escape(ours)}\b", rf"decoder.performer.net.layers.\1.{name}")
        for name, ours in PUBLISHED_NAMES.items()
    ),
    (r"decoder\.norm1\.", "decoder.norm."),
    (r"decoder\.norm2\.", "norm."),
    (r"decoder\.to_final\.", "to_final."),
)
_OF_DECODER = r"decoder.*|norm\..*|to_final\..*"


@dataclass(frozen=True)
class SubModel:
    """One of the models in a file.

    Attributes
    ----------
    key
        Its name.
    config
        Its settings, those of the network and of the training in one table.
    tensors
        Its tensors by their names in the file, without the prefix.
    others
        Names of the other models in the file.
    """

    key: Key
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    others: tuple[str, ...]


def read_submodel(path: Path, key: Key) -> SubModel:
    """Read one sub-model; the tensors of the others are not touched.

    Raises
    ------
    CheckpointError
        The file is damaged or holds no such sub-model.
    """
    if key not in KEYS:
        msg = f"Found key={key!r}; expected one of {', '.join(map(repr, KEYS))}."
        raise InputError(msg)
    stored = read_weights(path)
    if isinstance(stored, Mapping) and "state_dict" in stored:
        stored = {key: stored}
    elif isinstance(stored, Mapping) and len(stored) == 1 and next(iter(stored)) in KEYS:
        key = next(iter(stored))
    if not isinstance(stored, Mapping) or key not in stored:
        there = ", ".join(map(repr, stored)) if isinstance(stored, Mapping) else f"a {type(stored).__name__}"
        msg = f"{path} holds {there[:200]}; expected the sub-model {key!r} of {LAYOUT}: pass another key=."
        raise CheckpointError(msg)
    found = stored[key]
    tensors = found.get("state_dict") if isinstance(found, Mapping) else None
    if not isinstance(tensors, Mapping) or not all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in tensors.items()
    ):
        msg = f"{path} holds no 'state_dict' of tensors under {key!r}; expected one in a file of {LAYOUT}."
        raise CheckpointError(msg)
    bare = {re.sub(r"^.*?model\.", "", name, count=1): tensor for name, tensor in tensors.items()}
    return SubModel(key, _flat(found.get("config"), path), bare, tuple(name for name in stored if name != key))


def _flat(config: Any, path: Path) -> dict[str, Any]:
    """One table of the settings of the network, overlaid by those of the data."""
    try:
        return {**config["model_config"][config["model"]], **config["dataset_config"]["rnaseq"]}
    except (KeyError, TypeError) as error:
        msg = f"{path} holds no settings of its network ({error}); expected 'config' in a file of {LAYOUT}."
        raise CheckpointError(msg) from error


def read_sizes(found: SubModel, *, decoder: bool) -> Sizes:
    """Return the sizes of the network, with or without its decoder.

    Raises
    ------
    CheckpointError
        A size is missing, no number, or one that no tensor can have.
    """
    encoder = _sizes_of(found, "encoder", "transformer")
    n_positions = _whole(found, found.config, "seq_len", 2**31)
    n_bins = _whole(found, found.config, "bin_num", 2**31)
    if encoder["hidden_dim"] % encoder["heads"]:
        msg = f"The encoder is {encoder['hidden_dim']} wide with {encoder['heads']} heads; expected a multiple of them."
        raise CheckpointError(msg)
    return Sizes(
        n_positions=n_positions,
        dim=encoder["hidden_dim"],
        n_layers=encoder["depth"],
        n_heads=encoder["heads"],
        n_bins=n_bins,
        bin_alpha=_number(found, "bin_alpha", 1.0),
        mask=_number(found, "mask_token_id", 102),
        pad=_number(found, "pad_token_id", 103),
        decoder=_decoder_sizes(found) if decoder else None,
        dropout=_number(found, "dropout", 0.1),
        n_classes=_n_classes(found),
    )


def _n_classes(found: SubModel) -> int:
    weight = found.tensors.get("classifier.fc1.2.weight")
    return len(weight) if weight is not None and weight.ndim == 2 else 0


def _decoder_sizes(found: SubModel) -> DecoderSizes:
    decoder = _sizes_of(found, "decoder", "performer")
    dim_head = _whole(found, found.config["decoder"], "dim_head", 2**31)
    return DecoderSizes(decoder["hidden_dim"], decoder["depth"], decoder["heads"], dim_head)


def _sizes_of(found: SubModel, part: str, kind: str) -> dict[str, int]:
    block = found.config.get(part)
    if not isinstance(block, Mapping) or block.get("module_type", kind) != kind:
        msg = f"The settings of {found.key!r} say {part}={block!r}; expected the sizes of a {kind}."
        raise CheckpointError(msg)
    # A file may lie about its layers; no more are built than there are tensors.
    limits = {"hidden_dim": 2**31, "depth": len(found.tensors), "heads": 2**31}
    return {name: _whole(found, block, name, limit) for name, limit in limits.items()}


def _whole(found: SubModel, block: Mapping[str, Any], name: str, limit: int) -> int:
    value = block.get(name)
    if type(value) is not int or not 1 <= value <= limit:
        msg = f"The settings of {found.key!r} say {name}={value!r}; expected a whole number above 0."
        raise CheckpointError(msg)
    return value


def _number(found: SubModel, name: str, default: float) -> float:
    value = found.config.get(name, default)
    if not isinstance(value, int | float):
        msg = f"The settings of {found.key!r} say {name}={value!r}; expected a number."
        raise CheckpointError(msg)
    return float(value)


def load_network(
    path: Path, found: SubModel, sizes: Sizes, facts: Mapping[str, str]
) -> tuple[ScFoundationNetwork, LoadReport]:
    """Build the network and give it the tensors of the sub-model."""
    with unfilled():
        network = ScFoundationNetwork(sizes)
    names = {name: name_in_file(name) for name in network.state_dict()}
    ours = {name: own for own, name in names.items()}
    report = place(
        network,
        {ours.get(name, name): tensor for name, tensor in found.tensors.items()},
        source=str(path),
        layout=LAYOUT,
        ignored={} if sizes.decoder else {_OF_DECODER: "of the decoder, which no vector of a cell needs"},
        names=names,
        facts=facts,
    )
    return network.eval(), report


def name_in_file(name: str) -> str:
    """Return what the file calls a tensor of the network, without the prefix that all have there."""
    for pattern, theirs in _NAMES:
        renamed, hit = re.subn("^" + pattern, theirs, name)
        if hit:
            return renamed
    return name
