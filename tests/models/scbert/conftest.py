"""The original's tiny checkpoints, the cells that it saw and what it returned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from scfm_scverse.genes import resolve_genes
from scfm_scverse.models import Columns, load
from scfm_scverse.models.scbert.model import ScBERT
from scfm_scverse.tokens import Tokens

WHERE = {"device": torch.device("cpu"), "dtype": torch.float32}


@dataclass(frozen=True)
class Golden:
    """A folder of what the original returned."""

    folder: Path

    def arrays(self, name: str) -> dict[str, NDArray]:
        with np.load(self.folder / f"{name}.npz") as stored:
            return dict(stored)

    def load(self, name: str = "panglao_pretrain.pth", **options: object) -> ScBERT:
        return load(self.folder / name, genes=self.arrays("inputs")["model_genes"].tolist(), **options)

    def tokens(self, model: ScBERT, rows: NDArray | list[int] | None = None) -> Tokens:
        """Tokens of the kept cells, or some of them, by the way that a user's data take."""
        stored = self.arrays("inputs")
        match = resolve_genes(stored["raw_genes"].tolist(), organism="human")
        columns = Columns(model.positions(match, None), match.is_gene, 0.0)
        kept = np.isin(stored["raw_cells"], stored["kept_cells"])
        tokens = model.tokenizer(columns)(sp.csr_matrix(stored["raw_counts"][kept].astype(np.float32)))
        return tokens if rows is None else tokens.take(np.asarray(rows))


@pytest.fixture(params=["", pytest.param("second", marks=pytest.mark.holdout)])
def golden(shared: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(shared / "golden" / "scbert" / request.param)
