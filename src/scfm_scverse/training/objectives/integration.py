"""Making cells of one kind alike whatever batch they are from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..._errors import InputError
from ...models.scgpt.decoders import ClassDecoder, reverse_gradient
from ...models.scgpt.losses import elastic_similarity, wide
from ...models.scgpt.network import ScgptNetwork
from ...models.scgpt.parts import tell_batches_apart
from ...models.seeded import seeded
from ...models.trainable import Pass, Trainable
from ...nn.identity import AUXILIARY
from ...tokens import Tokens
from ..batch import Batch
from .base import Joint, Reading, network_of
from .masked_expression import MaskedExpression

if TYPE_CHECKING:
    from torch import Tensor


class ElasticSimilarity(Reading):
    """Push cells of a minibatch apart or together, away from a cosine of ``threshold`` (ECS).

    Parameters
    ----------
    threshold
        Pairs of a larger cosine become more alike, others less; 0.8 is the authors' program's, 0.6 their paper's.
    weight
        Of this part of the loss.

    References
    ----------
    Cui et al. scGPT: toward building a foundation model for single-cell multi-omics using generative AI. Nature
    Methods 21, 1470-1480 (2024).
    """

    def __init__(self, *, threshold: float = 0.8, weight: float = 10.0) -> None:
        self.threshold, self.weight = threshold, weight

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:  # noqa: ARG002
        """Return the loss under ``"similarity"``."""
        pairs = torch.tensor(len(batch) ** 2)
        loss = elastic_similarity(wide(seen.cell), self.threshold)
        return {"similarity": self.weight * batch.mean(loss * pairs, pairs)}


class DomainAdversarial(Reading):
    """Make the vectors of cells such that a discriminator cannot tell their batches (DAB), for any network.

    The discriminator learns to tell them; the gradient that goes on into the network has its sign turned.

    Parameters
    ----------
    n_batches
        How many batches there are.
    weight
        Of this part of the loss.
    seed
        Of the first weights of the discriminator.

    References
    ----------
    Ganin et al. Domain-adversarial training of neural networks. JMLR 17, 1-35 (2016). Cui et al. (2024), as in
    :class:`ElasticSimilarity`.
    """

    def __init__(self, n_batches: int, *, weight: float = 1.0, seed: int = 0) -> None:
        self.n_batches, self.weight, self.seed = n_batches, weight, seed

    def prepare(self, model: Trainable) -> None:
        """Put a discriminator on the network, as ``grad_reverse_discriminator``, which only a scGPT's files keep."""
        network = model.network
        if isinstance(network, ScgptNetwork):
            tell_batches_apart(network, self.n_batches, discriminator=True, seed=self.seed)
            return
        like = next(network.parameters())
        with seeded(self.seed):
            head = ClassDecoder(model.spec.dim, self.n_batches, 3, nn.LeakyReLU)
        network.add_module(AUXILIARY, head.to(like.device, like.dtype))

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:
        """Return the loss under ``"batches"``.

        Raises
        ------
        InputError
            The data have no batches.
        """
        logits: Tensor = model.network.get_submodule(AUXILIARY)(reverse_gradient(seen.cell))
        batches = _batches(batch).to(logits.device)
        total = cross_entropy(wide(logits), batches, reduction="sum")
        return {"batches": self.weight * batch.mean(total, torch.tensor(len(batch)))}


class DomainNorms(Reading):
    """Normalise batches apart in a scGPT, and show its decoders the batch: no loss, but parts of the network (DSBN).

    A minibatch may hold cells of several batches. (The authors' program normalises it as a whole by the batch of its
    first cell, and counts padding.)

    Parameters
    ----------
    n_batches
        How many batches there are.
    vectors
        Whether the decoders see a vector of the batch.
    seed
        Of the first vectors of batches.
    """

    def __init__(self, n_batches: int, *, vectors: bool = True, seed: int = 0) -> None:
        self.n_batches, self.vectors, self.seed = n_batches, vectors, seed

    def prepare(self, model: Trainable) -> None:
        """Add the parts to the network."""
        network = network_of(model, ScgptNetwork)
        tell_batches_apart(network, self.n_batches, norm=True, vectors=self.vectors, seed=self.seed)

    def hide(self, tokens: Tokens, batch: Batch) -> Tokens:
        """Hide nothing.

        Raises
        ------
        InputError
            The data have no batches.
        """
        _batches(batch)
        return tokens

    def read(self, model: Trainable, batch: Batch, seen: Pass) -> dict[str, Tensor]:  # noqa: ARG002
        """Return no loss."""
        return {}


def integration(n_batches: int, *, nonzero: bool = False, seed: int = 0) -> Joint:
    """Return the objectives that scGPT's authors integrate batches with, in their weights.

    Parameters
    ----------
    n_batches
        How many batches there are.
    nonzero
        Whether to tell which genes are expressed at all, as the authors do, whose cells have tokens of others too.
    seed
        Of the first weights of what is added to the network.
    """
    return Joint(
        DomainNorms(n_batches, seed=seed),
        MaskedExpression(nonzero=nonzero, seed=seed),
        ElasticSimilarity(),
        DomainAdversarial(n_batches, seed=seed),
    )


def _batches(batch: Batch) -> Tensor:
    if batch.batches is None:
        msg = "Found no batches of cells; expected them: pass batch_key=."
        raise InputError(msg)
    return batch.batches
