"""Parts that fine-tuning adds to a network: heads, norms and vectors of batches, probabilities of expression."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar, cast

import torch
from torch import Tensor, nn

from ..._errors import InputError
from ..seeded import seeded
from .decoders import ClassDecoder, ExprDecoder
from .embeddings import DomainNorm, TokenEncoder
from .network import ScgptConfig, ScgptNetwork

Module = TypeVar("Module", bound=nn.Module)


def new_class_head(network: ScgptNetwork, n: int, seed: int) -> ClassDecoder:
    """Make the decoder of classes that the authors fine-tune, of three layers."""
    network.config = replace(network.config, n_classes=n, n_layers_cls=3)
    with seeded(seed):
        return _like(network, ClassDecoder(network.config.dim, n, 3, nn.ReLU))


def tell_batches_apart(
    network: ScgptNetwork,
    n_batches: int,
    *,
    norm: bool = False,
    vectors: bool = False,
    discriminator: bool = False,
    seed: int = 0,
) -> None:
    """Add parts that tell batches apart. Those that are there for as many batches stay, others begin anew.

    Parameters
    ----------
    network
        The network.
    n_batches
        How many batches there are.
    norm
        Normalise what enters the transformer by batch.
    vectors
        Show the decoders the vector of the batch. They begin as they were, for their weights of these vectors are zero;
        the authors begin them anew.
    discriminator
        Tell the batch by the vector of a cell.
    seed
        Of the first weights.

    Raises
    ------
    InputError
        The network normalises over everything, or its decoder from cells reads no batches.
    """
    config = network.config
    has = replace(
        config,
        n_batches=n_batches,
        norm="dsbn" if norm else config.norm,
        batch_vectors=vectors or config.batch_vectors,
        discriminator=discriminator or config.discriminator,
    )
    _check_batches(config, has)
    others = config.n_batches != n_batches
    with seeded(seed):
        if has.norm == "dsbn" and (others or config.norm != "dsbn"):
            network.dsbn = _like(network, DomainNorm(n_batches, config.dim))
        if has.batch_vectors and (others or not config.batch_vectors):
            network.batch_encoder = _like(network, TokenEncoder(n_batches, config.dim))
        if has.discriminator and (others or not config.discriminator):
            head = ClassDecoder(config.dim, n_batches, 3, nn.LeakyReLU)
            network.grad_reverse_discriminator = _like(network, head)
    if has.batch_vectors and not config.batch_vectors and not config.n_modalities:  # these see the sum of both vectors
        _widen(network)
    network.config = has


def _check_batches(config: ScgptConfig, has: ScgptConfig) -> None:
    if has.norm == "dsbn" and config.norm == "batchnorm":
        msg = "Found a scGPT network with one norm for all cells (bn.weight); expected one without, to norm by batch."
        raise InputError(msg)
    if has.batch_vectors and config.mvc in {"concat query", "sum query"}:
        msg = f"Found a decoder from cells of the style {config.mvc!r}, which reads no batches; expected vectors=False."
        raise InputError(msg)


def _widen(network: ScgptNetwork) -> None:
    """Let the decoders read twice as many numbers of a row, the new ones by weights of zero."""
    if network.config.expression:
        decoder = cast(ExprDecoder, network.decoder)
        for tower in (decoder.fc, decoder.zero_logit):
            if tower is not None:
                tower[0] = _twice(cast(nn.Linear, tower[0]), axis=1)
    if network.config.mvc is not None:
        from_cell = network.mvc_decoder
        from_cell.W = _twice(from_cell.W, axis=0)
        if from_cell.W_zero_logit is not None:
            from_cell.W_zero_logit = _twice(from_cell.W_zero_logit, axis=0)


def _twice(layer: nn.Linear, *, axis: int) -> nn.Linear:
    """Layer of twice as many inputs (axis 1) or outputs (axis 0), with zeros behind its weights."""

    def longer(weight: Tensor, axis: int) -> nn.Parameter:
        return nn.Parameter(torch.cat([weight.detach(), torch.zeros_like(weight)], dim=axis))

    out = nn.Linear(1, 1, bias=layer.bias is not None, device="meta")
    out.weight = longer(layer.weight, axis)
    if layer.bias is not None:
        out.bias = longer(layer.bias, 0) if axis == 0 else layer.bias
    out.out_features, out.in_features = out.weight.shape
    return out


def add_nonzero(network: ScgptNetwork, seed: int) -> None:
    """Let the decoders give the probability that a value is above zero, if they do not yet."""
    config = network.config
    if config.zero_prob:
        return
    network.config = replace(config, zero_prob=True)
    with seeded(seed):
        made = ScgptNetwork(replace(network.config, n_tokens=1, pad=0, n_layers=0))
    decoder, new = (cast(ExprDecoder, one.decoder) for one in (network, made))
    decoder.zero_logit = _like(network, cast(nn.Sequential, new.zero_logit))
    if config.mvc in {"inner product", "inner product, detach"}:
        network.mvc_decoder.W_zero_logit = _like(network, cast(nn.Linear, made.mvc_decoder.W_zero_logit))


def _like(network: ScgptNetwork, part: Module) -> Module:
    """Put a new part where the others are, in their precision and mode."""
    where = network.encoder.embedding.weight
    return part.to(where.device, where.dtype).train(network.training)
