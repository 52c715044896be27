"""scfm-mini as a network whose gene vectors are learned: the ridge regression is solved anew at each step."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from .files import CLIP, MiniWeights


class MiniNetwork(nn.Module):
    """Vectors of genes, from which vectors of cells and scores of classes come, with gradients.

    Attributes
    ----------
    genes
        Vectors of genes, [v, d].
    mean, sd
        What log values are standardised by, [v]; not learned.
    ridge
        Strength of the penalty on a cell's vector.
    classes
        Linear map to the scores of classes, ``None`` without a head.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, weights: MiniWeights) -> None:
        super().__init__()
        n_genes, dim = weights.embedding.shape
        self.genes = nn.Embedding(n_genes, dim, _weight=torch.from_numpy(weights.embedding.copy()))
        self.register_buffer("mean", torch.from_numpy(weights.mean.copy()))
        self.register_buffer("sd", torch.from_numpy(weights.sd.copy()))
        self.ridge = weights.ridge
        self.classes: nn.Linear | None = None
        if weights.classes is not None:
            given = torch.from_numpy(weights.classes)
            self.classes = nn.Linear(given.shape[1] - 1, len(given))
            self.classes.load_state_dict({"weight": given[:, :-1], "bias": given[:, -1]})

    def levels(self, ids: Tensor, values: Tensor) -> Tensor:
        """Standardised log values of genes, float32 [t]."""
        mean, sd = self.mean.float(), self.sd.float()
        return ((values - mean[ids]) / sd[ids]).clamp(-CLIP, CLIP)

    def zeros(self) -> Tensor:
        """Level of a gene without a count, float32 [v]."""
        return (-self.mean.float() / self.sd.float()).clamp(-CLIP, CLIP)

    def forward(self, ids: Tensor, values: Tensor, starts: Tensor, measured: Tensor) -> Tensor:
        """Solve for the vectors of cells, float32 [b, d].

        Parameters
        ----------
        ids, values
            Genes of all cells, one cell after the other, and their log values, [t].
        starts
            First token of each cell, [b].
        measured
            Genes that the data set measured, int64 [m].
        """
        table, zeros = self.genes.weight.float(), self.zeros()
        rows = table[measured]
        # Most levels are those of a zero count: summed once, a cell only adds what its genes differ from them.
        shift = self.levels(ids, values) - zeros[ids]
        summed = embedding_bag(ids, table, starts, mode="sum", per_sample_weights=shift) + zeros[measured] @ rows
        gram = rows.T @ rows + self.ridge * torch.eye(rows.shape[1], device=rows.device)
        solved: Tensor = torch.linalg.solve(gram, summed.T).T
        return solved

    def told(self, cell: Tensor, genes: Tensor) -> Tensor:
        """Levels of genes [m] that vectors of cells [b, d] tell, float32 [b, m]."""
        levels: Tensor = cell @ self.genes.weight.float()[genes].T
        return levels

    def scores(self, cell: Tensor) -> Tensor:
        """Scores of the classes, [b, c], by the direction of a cell's vector, as embeddings have it."""
        if self.classes is None:
            msg = "The network has no head of classes; add_classes makes one."
            raise RuntimeError(msg)
        scaled = normalize(cell, dim=1) * cell.shape[1] ** 0.5
        scores: Tensor = self.classes(scaled.to(self.classes.weight.dtype))
        return scores

    def weights(self) -> MiniWeights:
        """Numbers as they are now, which share the memory of the network where it is in float32 on the CPU."""
        classes = None
        if self.classes is not None:
            classes = np.column_stack([_numpy(self.classes.weight), _numpy(self.classes.bias)])
        return MiniWeights(_numpy(self.genes.weight), _numpy(self.mean), _numpy(self.sd), self.ridge, classes)


def _numpy(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
