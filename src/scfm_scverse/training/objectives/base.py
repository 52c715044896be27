"""What a network is trained for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

from ..._errors import InputError
from ...models.trainable import Pass, Trainable
from ...tokens import Tokens
from ..batch import Batch

if TYPE_CHECKING:
    from torch import Tensor, nn

Network = TypeVar("Network", bound="nn.Module")


@runtime_checkable
class Objective(Protocol):
    """A minibatch in, named parts of a loss out; their sum is minimised."""

    def prepare(self, model: Trainable) -> None:
        """Add to the network what the objective needs, a head say, and freeze what it leaves alone; called once."""
        ...

    def losses(self, model: Trainable, batch: Batch) -> dict[str, Tensor]:
        """Return the parts of the loss, weighted, each a mean over what it looks at."""
        ...


class Reading(ABC):
    """An objective that reads one pass of the network, so that several can share it; see :class:`Joint`."""

    def prepare(self, model: Trainable) -> None:  # noqa: B027 (most need nothing)
        """See :class:`Objective`."""

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:  # noqa: ARG002
        """Return what the network is to read in place of ``tokens``, the same number of tokens in the same order."""
        return tokens

    @abstractmethod
    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the parts of the loss, weighted."""


class Joint:
    """Several objectives on one pass of the network.

    Parameters
    ----------
    *parts
        Objectives; what they hide is hidden from all of them.
    """

    def __init__(self, *parts: Reading) -> None:
        self.parts = parts

    def prepare(self, model: Trainable) -> None:
        """Prepare the network for every part."""
        for part in self.parts:
            part.prepare(model)

    def losses(self, model: Trainable, batch: Batch) -> dict[str, Tensor]:
        """Hide, run, and let every part read."""
        tokens = batch.tokens
        for part in self.parts:
            tokens = part.hide(tokens, batch)
        seen = model.run(tokens, batches=batch.batches)
        losses: dict[str, Tensor] = {}
        for part in self.parts:
            found = part.read(model, batch, seen)
            if twice := losses.keys() & found.keys():
                msg = f"Found two objectives with a loss {min(twice)!r}; expected one of each kind."
                raise InputError(msg)
            losses |= found
        return losses


def network_of(model: Trainable, kind: type[Network]) -> Network:
    """Return the network of a model.

    Raises
    ------
    InputError
        It is of another kind than the objective trains.
    """
    if not isinstance(model.network, kind):
        family = kind.__module__.split(".")[-2]
        msg = f"Found {model.spec.name}; expected a model whose network is a {kind.__name__} of {family}."
        raise InputError(msg)
    return model.network
