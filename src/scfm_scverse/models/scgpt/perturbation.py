"""scGPT fine-tuned to predict perturbations: expression of control cells and flags in, expression after it out.

All genes of a data set are tokens, those of zero expression too, there is no <cls>, and values are logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding

from ..._errors import InputError
from ...nn import Spans
from .decoders import Prediction
from .network import ScgptNetwork

NOT_PERTURBED, PERTURBED = 0, 1


@dataclass(frozen=True)
class Recipe:
    """What the tensors of a perturbation model do not tell; by default as in the authors' tutorial.

    Attributes
    ----------
    pad_flag
        Flag whose vector is not trained: 0 in the tutorial, 2 where the program was left alone.
    activation
        What factors and terms pass through.
    adaptive_bias
        Whether terms are multiplied by the mean of the cell's values above zero.
    """

    pad_flag: int = NOT_PERTURBED
    activation: Callable[[Tensor], Tensor] | None = None
    adaptive_bias: bool = False


TUTORIAL = Recipe()


def encode(
    net: ScgptNetwork, ids: Tensor, values: Tensor, flags: Tensor, spans: Spans, *, recipe: Recipe = TUTORIAL
) -> tuple[Tensor, Tensor]:
    """Return the vectors of the genes and the rows of the last layer, both [t, d].

    Raises
    ------
    InputError
        The network was not trained to predict perturbations.
    """
    if not net.config.perturbation:
        msg = "Found a scGPT network without pert_encoder; expected one that was fine-tuned to predict perturbations."
        raise InputError(msg)
    genes = net.encoder(ids)
    x = net.embed(genes, values) + embedding(flags, net.pert_encoder.weight, padding_idx=recipe.pad_flag)
    return genes, net.transformer_encoder(x, spans)


def decode(net: ScgptNetwork, rows: Tensor, values: Tensor, spans: Spans, *, recipe: Recipe = TUTORIAL) -> Prediction:
    """Expression after the perturbation [t] from the rows of the last layer: factor times value plus term."""
    factor, term = net.decoder(rows)
    coefficient, bias = factor.value, term.value
    if recipe.activation is not None:
        coefficient, bias = recipe.activation(coefficient), recipe.activation(bias)
    if recipe.adaptive_bias:
        sums, above = (values.new_zeros(len(spans.lengths)) for _ in range(2))
        cells = spans.cells.to(values.device)
        sums = sums.index_add(0, cells, values)
        above = above.index_add(0, cells, (values != 0).to(values.dtype))
        bias = bias * (sums / above.clamp(min=1))[cells]  # a cell without expression has no mean; its terms are 0
    return Prediction(coefficient * values + bias, factor.nonzero)


def predict(
    net: ScgptNetwork,
    values: Tensor,
    flags: Tensor,
    ids: Tensor,
    *,
    expressed_only: bool = False,
    generator: torch.Generator | None = None,
    recipe: Recipe = TUTORIAL,
) -> Tensor:
    """Predict the expression of cells after a perturbation.

    Parameters
    ----------
    net
        A network that was fine-tuned to predict perturbations.
    values
        Log-normalised expression of control cells [b, g].
    flags
        int64 [b, g]: 1 at the genes that are perturbed, else 0.
    ids
        int64 [g]: position of each gene in the vocabulary. Leave out genes that the vocabulary lacks; the authors give
        all of these the vector of <pad>.
    expressed_only
        As the authors do by default: genes that no cell of the minibatch expresses are no tokens, and are predicted to
        be 0. The result then depends on which cells go together, and a perturbed gene may be lost.
    generator
        Where the model tells how probable it is that a value is above zero: draw which are. Without it nothing is drawn
        (the authors always draw).
    recipe
        What the tensors do not tell.

    Returns
    -------
    [b, g]
    """
    genes = torch.nonzero((values != 0).any(dim=0))[:, 0] if expressed_only else torch.arange(len(ids))
    genes = genes.to(values.device)
    out = torch.zeros_like(values)
    if not len(genes):
        return out
    n = len(values)
    spans = Spans((len(genes),) * n)
    chosen = values[:, genes].flatten()
    with torch.inference_mode():
        _, rows = encode(net, ids[genes].repeat(n), chosen, flags[:, genes].flatten(), spans, recipe=recipe)
        found = decode(net, rows, chosen, spans, recipe=recipe)
        told = found.value if generator is None else found.sample(generator)
    out[:, genes] = told.view(n, -1)
    return out
