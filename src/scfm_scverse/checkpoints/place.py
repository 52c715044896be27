"""Put the tensors of a checkpoint where they belong in a module, and say what became of each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .._errors import CheckpointError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class LoadReport:
    """What became of a checkpoint.

    Attributes
    ----------
    source
        The file or folder.
    layout
        What it was recognised as.
    placed
        Names of the tensors that the model runs with, as the file calls them.
    ignored
        Names of the tensors that were left out -> why.
    made
        Names of the parameters that the file does not hold and that were made afresh -> why.
    facts
        What else was found: sizes, vocabulary, options.
    """

    source: str
    layout: str
    placed: tuple[str, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.source}: {self.layout}", *(f"  {name}: {value}" for name, value in self.facts.items())]
        lines.append(f"  {len(self.placed)} tensors loaded")
        for what, reasons in (("left out", self.ignored), ("made afresh", self.made)):
            for why in dict.fromkeys(reasons.values()):
                names = [name for name, one in reasons.items() if one == why]
                more = f" and {len(names) - 3} more" if len(names) > 3 else ""
                lines.append(f"  {what}: {', '.join(names[:3])}{more} ({why})")
        return "\n".join(lines)


def place(
    module: torch.nn.Module,
    tensors: Mapping[str, torch.Tensor],
    *,
    source: str,
    layout: str,
    ignored: Mapping[str, str] | None = None,
    made: Mapping[str, str] | None = None,
    names: Mapping[str, str] | None = None,
    facts: Mapping[str, str] | None = None,
) -> LoadReport:
    """Give a module its tensors, float32, or stop with the name of the first that does not fit.

    Parameters
    ----------
    module
        The network; its parameters may lie on the meta device.
    tensors
        Tensors under the names of the module's parameters and buffers.
    source, layout
        What the report and the messages call the file.
    ignored
        Patterns of names (whole, regular expressions) that may stay unused -> why. Other unused tensors are listed as
        unknown to this model.
    made
        Patterns of parameters that the file may lack -> why; they keep the values that the module gave them.
    names
        Names of the tensors here -> names in the file, where they differ.
    facts
        Further facts for the report.

    Raises
    ------
    CheckpointError
        A parameter has no tensor, or one of another shape, whole numbers stand for decimal ones, or a number is not
        finite.
    """
    import torch

    names = names or {}
    own = module.state_dict()
    fresh: dict[str, str] = {}
    state: dict[str, torch.Tensor] = {}
    for name, parameter in own.items():
        if name not in tensors:
            why = _reason(name, made)
            if why is None:
                missing = [names.get(one, one) for one in own if one not in tensors and _reason(one, made) is None]
                more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
                msg = f"{source} lacks the tensor {missing[0]!r}{more}; expected it in a file of {layout}."
                raise CheckpointError(msg)
            fresh[name] = why
            continue
        tensor = tensors[name]
        decimal = tensor.is_floating_point(), parameter.is_floating_point()
        if tensor.shape != parameter.shape or decimal[0] != decimal[1]:
            found, expected = (
                f"{tuple(one.shape)}{'' if decimal[0] == decimal[1] else f', {one.dtype}'}"
                for one in (tensor, parameter)
            )
            msg = f"{source} holds {names.get(name, name)!r} of shape {found}; expected {expected} ({layout})."
            raise CheckpointError(msg)
        # A copy: the file may change or go, and what is mapped onto it with it.
        state[name] = tensor.to(torch.float32 if decimal[1] else parameter.dtype, copy=True)
        if decimal[1] and not bool(torch.isfinite(state[name]).all()):
            msg = f"{source} holds {names.get(name, name)!r} with NaN or infinite numbers; expected finite weights."
            raise CheckpointError(msg)
    module.load_state_dict(state, strict=False, assign=True)
    unused = [name for name in tensors if name not in own]
    return LoadReport(
        source=source,
        layout=layout,
        placed=tuple(names.get(name, name) for name in state),
        ignored={names.get(name, name): _reason(name, ignored) or "unknown to this model" for name in unused},
        made=fresh,
        facts=dict(facts or {}),
    )


def _reason(name: str, patterns: Mapping[str, str] | None) -> str | None:
    return next((why for pattern, why in (patterns or {}).items() if re.fullmatch(pattern, name)), None)


def strip_prefix(tensors: Mapping[str, torch.Tensor], prefixes: Sequence[str]) -> dict[str, torch.Tensor]:
    """Take the first of these prefixes that a name has off it, as training on several devices puts one on."""
    out = {}
    for name, tensor in tensors.items():
        prefix = next((prefix for prefix in prefixes if name.startswith(prefix)), "")
        out[name[len(prefix) :]] = tensor
    return out
