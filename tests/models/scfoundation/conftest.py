"""What the authors' program returned for small checkpoints of the released layout, and our model of the same file."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from anndata import AnnData

import scfm_scverse as scfm
from scfm_scverse.models import Columns, Encoded, Wanted
from scfm_scverse.models.scfoundation.model import ScFoundation
from scfm_scverse.tokens import Tokens

HERE = {"device": torch.device("cpu"), "dtype": torch.float32}


@dataclass(frozen=True)
class Golden:
    """One folder of stored arrays."""

    folder: Path

    def arrays(self, file: str) -> dict[str, np.ndarray]:
        return _arrays(self.folder / f"{file}.npz")

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        return self.arrays("inputs")

    def rows(self, cells: np.ndarray) -> list[int]:
        """Rows of ``inputs["counts"]`` of some cells."""
        names = self.inputs["cells"].tolist()
        return [names.index(cell) for cell in cells]

    def counts(self, cells: np.ndarray | None = None) -> np.ndarray:
        """Counts of the cells that the original can embed, or of some."""
        rows = self.rows(self.inputs["usable"] if cells is None else cells)
        return self.inputs["counts"][rows].astype(np.float32)

    def adata(self, values: np.ndarray, genes: np.ndarray | None = None) -> AnnData:
        adata = AnnData(sp.csr_matrix(values.astype(np.float32)))
        adata.var_names = (self.inputs["genes"] if genes is None else genes).tolist()
        adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
        return adata

    def model(self, **options: Any) -> ScFoundation:
        """The model with these options; the same object each time."""
        return _model(self.folder / "models.ckpt", **options)

    def tokens(self, model: ScFoundation, values: np.ndarray, totals: np.ndarray | None = None) -> Tokens:
        """Tokens of values in the order of the list: counts, or log values where the model was loaded for them."""
        n_genes = values.shape[1]
        base = 0.0 if model.options.pre_normalized == "F" else float(np.e)
        columns = Columns(np.arange(n_genes, dtype=np.int32), np.ones(n_genes, bool), base)
        tokenize: Any = model.tokenizer(columns)
        tokens: Tokens = tokenize(sp.csr_matrix(values.astype(np.float32)), totals)
        return tokens

    def encode(self, model: ScFoundation, tokens: Tokens, *outputs: Any, **wanted: Any) -> Encoded:
        return model.encode(tokens, Wanted(frozenset(outputs), **wanted), **HERE)


@cache
def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as stored:
        return dict(stored)


@cache
def _model(path: Path, **options: Any) -> ScFoundation:
    model = scfm.models.load(path, **options)
    assert isinstance(model, ScFoundation)
    return model


@pytest.fixture(scope="session", params=["", pytest.param("second", marks=pytest.mark.holdout)])
def golden(shared: Path, request: pytest.FixtureRequest) -> Golden:
    return Golden(shared / "golden" / "scfoundation" / request.param)


@pytest.fixture(scope="session")
def toy(shared: Path) -> Golden:
    """The first folder alone, for what needs no stored numbers."""
    return Golden(shared / "golden" / "scfoundation")


@pytest.fixture
def edited(toy: Golden, tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], Any]], Path]:
    """Write a checkpoint with a change in what it holds, its genes beside it."""

    def write(change: Callable[[dict[str, Any]], Any]) -> Path:
        stored = torch.load(toy.folder / "models.ckpt", weights_only=True)
        changed = change(stored)
        torch.save(stored if changed is None else changed, tmp_path / "models.ckpt")
        (tmp_path / "genes.tsv").write_bytes((toy.folder / "genes.tsv").read_bytes())
        return tmp_path / "models.ckpt"

    return write


@pytest.fixture(scope="session")
def shared_genes(shared: Path) -> list[str]:
    packed = (shared / "vocab" / "scfoundation_genes_19264.txt.xz").read_bytes()
    return lzma.decompress(packed).decode().split()
