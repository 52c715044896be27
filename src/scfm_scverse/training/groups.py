"""Which parameters of a network are trained in low rank, which row by row and which as they are."""

from __future__ import annotations

from typing import Any, Literal

from torch import Tensor, nn

from .._errors import InputError
from .projection import PROJ_TYPES, ProjType, low_rank_shape, sides

# Smaller tables cost little, and every step touches most of their rows.
_LARGE_TABLE = 1024

_DEFAULTS = {"update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}


def galore_param_groups(
    module: nn.Module,
    rank: int = 128,
    *,
    update_proj_gap: int = 200,
    scale: float = 0.25,
    proj_type: ProjType = "std",
    embedding: Literal["rowwise", "adamw", "lowrank"] = "rowwise",
) -> list[dict[str, Any]]:
    """Sort the parameters of a network into groups for :class:`GaLoreAdamW`.

    A matrix is trained in low rank where that takes less memory than both of AdamW's moments, a large embedding table
    (1,024 rows or more, used by nothing else) as ``embedding`` says, all other parameters by AdamW. Parameters that
    need no gradient are left out.

    Parameters
    ----------
    module
        The network.
    rank
        Directions that are kept of each gradient. A quarter of the width of the network is usual.
    update_proj_gap
        Steps from one choice of the directions to the next.
    scale
        Factor of the learning rate for matrices of low rank.
    proj_type
        Side on which a matrix is projected: ``"std"`` its shorter one, ``"reverse_std"`` its longer one, ``"left"``,
        ``"right"`` or both (``"full"``).
    embedding
        Large embedding tables: ``"rowwise"`` moves the rows that have a gradient, by one second moment a row, and
        costs next to no memory (most where the table was made with ``sparse=True``); ``"adamw"`` keeps both moments
        of every weight; ``"lowrank"`` projects, which was slower to learn.

    Returns
    -------
    Groups that have a parameter, in the order low rank, tables, others.

    Examples
    --------
    >>> from torch import nn
    >>> network = nn.Sequential(nn.Embedding(5000, 64), nn.Linear(64, 64))
    >>> [sorted(group) for group in galore_param_groups(network, rank=16)]
    [['params', 'proj_type', 'rank', 'scale', 'update_proj_gap'], ['params', 'rowwise'], ['params']]
    """
    tables = _tables(module)
    matrices, rows, others = [], [], []
    for param in module.parameters():
        if not param.requires_grad:
            continue
        if id(param) in tables and embedding == "rowwise":
            rows.append(param)
        elif (id(param) not in tables or embedding == "lowrank") and _saves(param, rank, proj_type):
            matrices.append(param)
        else:
            others.append(param)
    low = {"rank": rank, "update_proj_gap": update_proj_gap, "scale": scale, "proj_type": proj_type}
    groups: list[dict[str, Any]] = [{"params": matrices, **low}, {"params": rows, "rowwise": True}, {"params": others}]
    return [group for group in groups if group["params"]]


def _tables(module: nn.Module) -> set[int]:
    """Large weights of embeddings that no other layer shares, or names as ``tied`` to itself."""
    owners = {True: set[int](), False: set[int]()}
    for layer in module.modules():
        owners[isinstance(layer, nn.Embedding)] |= {id(param) for param in layer.parameters(recurse=False)}
        owners[False] |= {id(param) for param in getattr(layer, "tied", ())}
    large = {id(param) for param in module.parameters() if len(param.shape) == 2 and len(param) >= _LARGE_TABLE}
    return (owners[True] - owners[False]) & large


def _saves(param: Tensor, rank: int, proj_type: str) -> bool:
    """Whether moments and bases in low rank are fewer numbers than the moments of the whole matrix."""
    if param.ndim != 2 or min(param.shape) <= rank:
        return False
    rows, columns = low_rank_shape(param.shape, rank, proj_type)
    bases = sum(rank * param.shape[side == "right"] for side in sides(proj_type, param.shape))
    return 2 * rows * columns + bases < 2 * param.numel()


def check_group(group: dict[str, Any]) -> None:
    """Fill in what a group of low rank does not say, and refuse what cannot be."""
    if group.get("rowwise") and ("rank" in group or any(param.ndim != 2 for param in group["params"])):
        msg = "a group with rowwise=True has a rank or a parameter that is not a table [rows, width]; split it"
        raise InputError(msg)
    if "rank" not in group:
        return
    for key, value in _DEFAULTS.items():
        group.setdefault(key, value)
    if group["proj_type"] not in PROJ_TYPES:
        msg = f"proj_type is {group['proj_type']!r}, expected one of {', '.join(PROJ_TYPES)}"
        raise InputError(msg)
    for key in ("rank", "update_proj_gap"):
        if not isinstance(group[key], int) or group[key] < 1:
            msg = f"{key} is {group[key]!r}, expected a whole number of at least 1"
            raise InputError(msg)
    if group.get("residual") and group["proj_type"] == "full":
        msg = 'residual=True is not defined with proj_type="full"; project one side'
        raise InputError(msg)
    if any(param.ndim > 2 and not param.is_contiguous() for param in group["params"]):
        msg = "a parameter with more than two axes is not contiguous; leave it out of the group with a rank"
        raise InputError(msg)
