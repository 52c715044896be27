"""``panglao_pretrain.pth`` as the authors release it, the files that their fine-tuning writes, and files of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..._errors import CheckpointError
from ...checkpoints import LoadReport, place, read_weights
from ...checkpoints.place import strip_prefix
from ...nn import unfilled
from ...nn.favor import n_features
from ...nn.identity import lasting_tensors
from ...nn.performer import PUBLISHED_NAMES
from ..catalogue import release_fact
from .network import Network, Sizes

LAYOUT = "scBERT (panglao_pretrain.pth)"
LICENCE = "GPL-3.0, code and weights"
_TENSORS, _GENES, _CLASSES, _LICENCE = "model_state_dict", "genes", "classes", "licence"
_KERNEL = "to_out.conv1.weight"
_LAYERS = "performer.net.layers"
_PARTS = {ours: theirs for theirs, ours in PUBLISHED_NAMES.items()}


@dataclass(frozen=True)
class Stored:
    """What a file holds.

    Attributes
    ----------
    tensors
        Tensors by their names.
    genes, classes, licence
        Names of the genes and of the classes, and the licence, which only a file of ours tells.
    facts
        What else there is to say of it.
    """

    tensors: dict[str, Tensor]
    genes: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    licence: str
    facts: dict[str, str]


def read_stored(path: Path) -> Stored:
    """Read a file.

    Raises
    ------
    CheckpointError
        The file is damaged, or is of another kind.
    """
    stored = read_weights(path)
    tensors = stored.get(_TENSORS) if isinstance(stored, Mapping) else None
    if not isinstance(tensors, Mapping) or not all(isinstance(one, Tensor) for one in tensors.values()):
        there = ", ".join(map(str, stored)) if isinstance(stored, Mapping) else f"a {type(stored).__name__}"
        msg = f"{path} holds {there[:200]}; expected the entry {_TENSORS!r} with tensors in a file of {LAYOUT}."
        raise CheckpointError(msg)
    known = (_TENSORS, _GENES, _CLASSES, _LICENCE)
    others = [name for name in stored if name not in known]
    facts = {"epoch": str(stored.get("epoch")), "not read": ", ".join(others), **release_fact(path)}
    return Stored(
        strip_prefix(tensors, ["module."]),
        _names(stored.get(_GENES)),
        _names(stored.get(_CLASSES)),
        str(stored.get(_LICENCE, LICENCE)),
        facts,
    )


def _names(found: Any) -> tuple[str, ...] | None:
    of_text = isinstance(found, list) and all(isinstance(one, str) for one in found)
    return tuple(found) if of_text and found else None


def contents_of(network: Network, genes: Sequence[str], classes: Sequence[str], licence: str) -> dict[str, Any]:
    """What a file of ours holds, as :func:`read_stored` reads it."""
    tensors = {file_name(name): tensor for name, tensor in lasting_tensors(network).items()}
    if classes:
        tensors[_KERNEL] = tensors[_KERNEL][None, None]
    return {_TENSORS: tensors, _GENES: list(genes), _CLASSES: list(classes), _LICENCE: licence}


def read_sizes(path: Path, tensors: Mapping[str, Tensor]) -> Sizes:
    """Return the sizes of the network, which the shapes of its tensors tell.

    Raises
    ------
    CheckpointError
        A tensor is missing, or has a shape that no such network has.
    """
    n_features_, dim_head = _shape(path, tensors, f"{_LAYERS}.0.0.fn.fast_attention.projection_matrix", 2)
    inner, dim = _shape(path, tensors, f"{_LAYERS}.0.0.fn.to_q.weight", 2)
    if dim_head < 3 or inner % dim_head or n_features_ != n_features(dim_head):
        msg = (
            f"{path} holds projections of {n_features_} x {dim_head} for queries {inner} wide; expected "
            "int(d ln d) x d where d, the width of a head, divides that of the queries."
        )
        raise CheckpointError(msg)
    numbers = {found[1] for name in tensors if (found := re.match(rf"{re.escape(_LAYERS)}\.(\d+)\.", name))}
    fine_tuned = "to_out.fc3.weight" in tensors
    return Sizes(
        n_positions=_shape(path, tensors, "pos_emb.emb.weight", 2)[0],
        n_tokens=_shape(path, tensors, "token_emb.weight", 2)[0],
        dim=dim,
        n_layers=len(numbers),
        n_heads=inner // dim_head,
        dim_head=dim_head,
        dim_hidden=_shape(path, tensors, f"{_LAYERS}.0.1.fn.fn.w1.weight", 2)[0],
        n_classes=_shape(path, tensors, "to_out.fc3.weight", 2)[0] if fine_tuned else None,
    )


def _shape(path: Path, tensors: Mapping[str, Tensor], name: str, n_dims: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != n_dims or 0 in tensors[name].shape:
        found = f"of shape {tuple(tensors[name].shape)}" if name in tensors else "nowhere"
        msg = f"{path} holds {name!r} {found}; expected {n_dims} dimensions in a file of {LAYOUT}."
        raise CheckpointError(msg)
    return tuple(tensors[name].shape)


def load_network(
    path: Path, tensors: Mapping[str, Tensor], sizes: Sizes, facts: Mapping[str, Any]
) -> tuple[Network, LoadReport]:
    """Build the network and give it the tensors of a file."""
    with unfilled():
        network = Network(sizes)
    names = {ours: file_name(ours) for ours in network.state_dict()}
    own = {theirs: ours for ours, theirs in names.items()}
    report = place(
        network,
        {own.get(name, name): _flat(tensor, name) for name, tensor in tensors.items()},
        source=str(path),
        layout=LAYOUT,
        names=names,
        facts=facts,
    )
    return network.eval(), report


def file_name(name: str) -> str:
    """Name in a file of a tensor of the network."""
    layer = re.fullmatch(r"performer\.layers\.(\d+)\.(.+?)(\.(?:weight|bias))?", name)
    if layer is not None:
        return f"{_LAYERS}.{layer[1]}.{_PARTS[layer[2]]}{layer[3] or ''}"
    return {"gene_emb": "pos_emb.emb.weight", "performer.calls": "performer.calls_since_last_redraw"}.get(name, name)


def _flat(tensor: Tensor, name: str) -> Tensor:
    """Return the kernel of the head's convolution, one number a column, as the matrix that it is."""
    is_kernel = name == _KERNEL and tensor.ndim == 4 and tensor.shape[:3] == (1, 1, 1)
    return tensor[0, 0] if is_kernel else tensor
