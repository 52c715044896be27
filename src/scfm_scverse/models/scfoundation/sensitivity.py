"""What taking a gene out of its cell does to what scFoundation's encoder says of it, to first order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ...nn import Spans
from ...nn.presence import encode_present, gradients, max_present, mean_present, share_growth
from ...tokens import Tokens
from ..base import Encoded
from .network import Embedding, Transformer
from .options import Options
from .rows import AROUND, make_rows


def sensitivity(
    embedding: Embedding,
    transformer: Transformer,
    minibatch: Tokens,
    scores: Callable[[Encoded], Tensor],
    options: Options,
    *,
    n_layers: int | None,
    how: str,
) -> Tensor:
    """Change of scores as each gene is taken out, [k, t].

    The gene's row leaves attention and pooling; where the model reads counts, those of the other genes become a larger
    share of the cell, and the depth S falls (and T, where the rule ties it to the total).
    """
    device = embedding.pos_emb.weight.device
    rows = make_rows(minibatch, embedding.pos_emb.num_embeddings - 1 - AROUND, device)
    values = rows.values.requires_grad_()
    absent = torch.zeros_like(values, requires_grad=True)
    hidden = encode_present(
        transformer.encoder, embedding(values, rows.positions), rows.spans, absent, n_layers=n_layers
    )
    hidden = transformer.norm(hidden) if n_layers is None else hidden
    of_absence, of_values = gradients(
        scores(Encoded(cell=pool_present(hidden, rows.spans, how, absent))), (absent, values)
    )
    lengths = list(rows.spans.lengths)
    of_tokens = [part[:, :-AROUND] for part in of_absence.split_with_sizes(lengths, dim=1)]
    if options.pre_normalized != "F" or options.input_type != "singlecell":
        return torch.cat(of_tokens, dim=1)
    changes = []
    levels = values.detach().split_with_sizes(lengths)
    for of_token, depths, of_value in zip(of_tokens, levels, of_values.split_with_sizes(lengths, dim=1), strict=True):
        level = depths[:-AROUND]
        growth, slope = share_growth(level, options.target_sum)
        others = of_value[:, :-AROUND] * slope
        depth = of_value[:, -1] + (of_value[:, -2] if options.target.rule != "t" else 0)
        whole = others.sum(1) - depth / np.log(10)
        changes.append(of_token + (whole[:, None] - others) * growth)
    return torch.cat(changes, dim=1)


def pool_present(x: Tensor, spans: Spans, how: str, absent: Tensor) -> Tensor:
    """Make one vector of the rows of each cell as ``rows.pool`` does, where genes can be absent by degrees."""
    ends = torch.tensor(spans.lengths, device=x.device).cumsum(0)
    if how in {"S", "T"}:
        return x[ends - (1 if how == "S" else 2)]
    if how == "max":
        return max_present(x, spans, absent)
    is_gene = torch.ones(len(x), dtype=torch.bool, device=x.device)
    is_gene[torch.cat([ends - 1, ends - 2])] = False
    genes = x[is_gene], Spans(tuple(length - AROUND for length in spans.lengths)), absent[is_gene]
    if how == "mean":
        return mean_present(*genes)
    return torch.cat([x[ends - 1], x[ends - 2], max_present(*genes), mean_present(*genes)], dim=1)
