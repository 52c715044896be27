"""scfm-mini behind the interface that every model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...checkpoints import LoadReport
from ...genes import GeneMatch, load_gene_table, place_names
from ...tokens import LogValues, Tokens
from ...tokens.continuous import TARGET_SUM
from ..base import Columns, Encoded, ModelSpec, Wanted, check_wanted
from .files import CLIP, TENSORS, MiniWeights, spec_of, tensors_of, write_scfm_mini

if TYPE_CHECKING:
    import torch

    from ..trainable import Pass
    from .network import MiniNetwork


def projection(weights: MiniWeights, measured: NDArray[np.bool_]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the map from standardised values to cell vectors, [v, d], and the vector of a cell without counts, [d].

    The vector of a cell is ``(W'W + ridge)^-1 W' z`` over the measured genes. Most z are those of a zero count, so
    they are summed once and a cell only adds what its expressed genes differ from zero.
    """
    gene = weights.embedding[measured].astype(np.float64)
    gram = gene.T @ gene + weights.ridge * np.eye(gene.shape[1])
    solved = np.linalg.solve(gram, gene.T).T
    full = np.zeros(weights.embedding.shape, np.float32)
    full[measured] = solved
    zero = np.clip(-weights.mean / weights.sd, -CLIP, CLIP)
    return full, (zero[measured].astype(np.float64) @ solved).astype(np.float32)


class ScfmMini:
    """The model behind ``model="scfm-mini"``; see the model card for what it was made from."""

    def __init__(self, weights: MiniWeights, spec: ModelSpec) -> None:
        self._loaded = weights
        self.spec = spec

    @cached_property
    def network(self) -> MiniNetwork:
        """The weights as a network, which holds them from now on."""
        from .network import MiniNetwork

        return MiniNetwork(self._loaded).eval()

    @property
    def weights(self) -> MiniWeights:
        """The numbers, as they are now."""
        return self.network.weights() if self._is_network else self._loaded

    @property
    def _is_network(self) -> bool:
        return "network" in vars(self)  # not before it is asked for, since torch takes a second to come

    @cached_property
    def gene_rows(self) -> NDArray[np.int32]:
        """Rows of the gene table that the vocabulary stands for, [v]."""
        return load_gene_table().rows_of_ensembl(self.spec.genes)

    def positions(self, match: GeneMatch, ids: Sequence[str] | None) -> NDArray[np.int32]:
        """Return the position in the vocabulary of each name of a data set, [g]."""
        return place_names(match, ids, self.spec.genes, self.gene_rows)

    def tokenizer(self, columns: Columns) -> Callable[[sp.csr_matrix], Tokens]:
        """Return the tokeniser of a matrix with these columns."""
        return LogValues(
            columns=columns.vocabulary,
            counted=columns.counted,
            n_genes=len(self.spec.genes),
            base=columns.base,
        )

    def gene_vectors(self) -> NDArray[np.float32]:
        """Return the vector of each gene, [v, d]."""
        return self.weights.embedding

    def report(self) -> LoadReport:
        """Return what was loaded."""
        return LoadReport(source=self.spec.id, layout="scfm-mini", placed=TENSORS)

    def encode(self, minibatch: Tokens, want: Wanted, *, device: torch.device, dtype: torch.dtype) -> Encoded:
        """Return unit vectors of cells [b, d], and log1p of counts per 10,000 of measured genes in every cell."""
        import torch

        from ..readout import panel_rows

        check_wanted(self.spec, want)
        table, zero, scale = self._tables(minibatch.measured.tobytes(), self._state, device, dtype)
        ids = torch.from_numpy(minibatch.ids).to(device)
        values = torch.from_numpy(minibatch.values).to(device)
        # What an expressed gene adds to a cell is the distance of its standardised value from that of a zero.
        mean, sd, start = (row.index_select(0, ids) for row in scale)  # four times as fast as scale[:, ids]
        shift = (values - mean).div_(sd).clamp_(-CLIP, CLIP).sub_(start)
        vectors = torch.nn.functional.embedding_bag(
            ids,
            table,
            torch.from_numpy(minibatch.indptr[:-1].astype(np.int32)).to(device),
            mode="sum",
            per_sample_weights=shift.to(dtype),
        )
        summed = vectors.float() + zero
        cell = torch.nn.functional.normalize(summed, dim=1) if "cell" in want.outputs else None
        expression = None
        if "expression" in want.outputs:
            measured = torch.from_numpy(np.flatnonzero(minibatch.measured)).to(device)
            genes = torch.from_numpy(self.weights.embedding).to(device)[measured]
            told = panel_rows((summed @ genes.T) * scale[1, measured] + scale[0, measured])
            expression = replace(told, gene=measured[told.gene])
        return Encoded(cell=cell, expression=expression)

    def run(self, minibatch: Tokens, *, batches: torch.Tensor | None = None) -> Pass:  # noqa: ARG002 (tells none apart)
        """Vectors of cells [b, d] of any length, with gradients; a linear model has no rows of tokens."""
        import torch

        from ..trainable import Pass

        where = self.network.mean.device
        ids, values, starts = (
            torch.from_numpy(one).to(where)
            for one in (minibatch.ids.astype(np.int64), minibatch.values, minibatch.indptr[:-1])
        )
        cell = self.network(ids, values, starts, torch.from_numpy(np.flatnonzero(minibatch.measured)).to(where))
        return Pass(cell=cell, rows=cell[:0])

    def add_classes(self, n: int, *, seed: int) -> None:
        """Give the network a linear map to the scores of ``n`` classes."""
        from torch import nn

        from ..seeded import seeded

        weight = self.network.genes.weight
        with seeded(seed):
            self.network.classes = nn.Linear(weight.shape[1], n).to(weight)

    def class_logits(self, seen: Pass) -> torch.Tensor:
        """Score the classes of every cell, [b, n]."""
        return self.network.scores(seen.cell)

    def renew(self) -> None:
        """Bring ``spec`` up to date with the weights."""
        self.spec = spec_of(tensors_of(self.weights, self.spec.genes), self.spec.version)

    def write(self, folder: Path) -> None:
        """Write ``scfm-mini.safetensors``, the layout of the weights that come with the package."""
        write_scfm_mini(self, folder)

    def sensitivity(
        self, minibatch: Tokens, want: Wanted, scores: Callable[[Encoded], torch.Tensor], *, device: torch.device
    ) -> torch.Tensor:
        """Return the change of each score, to first order, as each gene is taken out of its cell, [k, t].

        The counts of the other genes become a larger share of the cell, which is all that bends the line.
        """
        import torch

        from ...nn.presence import gradients, share_growth

        check_wanted(self.spec, want)
        table, zero, scale = self._tables(minibatch.measured.tobytes(), self._state, device, torch.float32)
        ids, values = (torch.from_numpy(one).to(device) for one in (minibatch.ids, minibatch.values))
        cells = torch.from_numpy(np.repeat(np.arange(len(minibatch)), minibatch.lengths)).to(device)
        mean, sd, start = (row[ids] for row in scale)
        level = (values - mean) / sd
        rows, taken = table[ids], start - level.clamp(-CLIP, CLIP)
        growth, slope = share_growth(values, TARGET_SUM)
        others = slope / sd * (level.abs() < CLIP)  # clipped values do not grow
        nothing = torch.zeros(len(minibatch), rows.shape[1], device=device)
        summed = (zero - nothing.index_add(0, cells, rows * taken[:, None])).requires_grad_()
        told = scores(Encoded(cell=torch.nn.functional.normalize(summed, dim=1)))
        (of_cell,) = gradients(told, (summed,))
        of_token = (of_cell[:, cells] * rows).sum(-1)
        of_cells = torch.zeros(of_cell.shape[:2], device=device).index_add(1, cells, of_token * others)
        change: torch.Tensor = of_token * taken + (of_cells[:, cells] - of_token * others) * growth
        return change

    @property
    def _state(self) -> object:
        """What changes whenever weights do."""
        from ...nn import state_of

        return state_of(self.network) if self._is_network else None

    @lru_cache(maxsize=2)  # noqa: B019 (a model lives as long as the process, or is dropped with its cache)
    def _tables(
        self, measured: bytes, _state: object, device: torch.device, dtype: torch.dtype
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Projection [v, d], vector of a cell without counts [d], and mean, sd and zero of every gene [3, v]."""
        import torch

        weights = self.weights
        full, zero = projection(weights, np.frombuffer(measured, dtype=bool))
        mean, sd = weights.mean, weights.sd
        scale = np.stack([mean, sd, np.clip(-mean / sd, -CLIP, CLIP)])
        return (
            torch.from_numpy(full).to(device, dtype),
            torch.from_numpy(zero).to(device),
            torch.from_numpy(scale).to(device),
        )
