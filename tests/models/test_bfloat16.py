"""Transformers in bfloat16: near float32, whatever processor the tests run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from scfm_scverse.inference.device import choose_dtype
from scfm_scverse.models import CellModel, Columns, Wanted, load

CPU = torch.device("cpu")


def checkpoint(family: str, shared: Path) -> CellModel:
    """One of the small checkpoints."""
    folder = shared / "golden" / family
    if family == "scbert":
        genes = np.load(folder / "inputs.npz")["model_genes"].tolist()
        return load(folder / "panglao_pretrain.pth", genes=genes)
    paths = {"scgpt": "model", "geneformer": "model_v2", "scfoundation": "models.ckpt"}
    return load(folder / paths[family])


def vectors(model: CellModel, dtype: torch.dtype, **want: Any) -> NDArray[np.float32]:
    """Vectors of cells of made-up counts, each gene of the model measured."""
    columns = np.flatnonzero([not name.startswith("<") for name in model.spec.genes.tolist()]).astype(np.int32)
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.gamma(0.5, 3.0, (12, len(columns)))).astype(np.float32)
    tokens = model.tokenizer(Columns(columns, np.ones(len(columns), bool), 0.0))(sp.csr_matrix(counts))
    found = model.encode(tokens, Wanted(**want), device=CPU, dtype=dtype).cell
    assert found is not None
    return found.float().numpy()


@pytest.mark.parametrize("family", ["scgpt", "geneformer", "scfoundation", "scbert"])
def test_every_pooling_in_bfloat16_is_near_float32(family: str, shared: Path) -> None:
    model = checkpoint(family, shared)
    assert model.spec.bfloat16
    for pooling in model.spec.poolings:
        expected, found = (vectors(model, dtype, pooling=pooling) for dtype in (torch.float32, torch.bfloat16))
        cosine = (expected * found).sum(1) / np.linalg.norm(expected, axis=1) / np.linalg.norm(found, axis=1)
        assert cosine.min() > 0.999, pooling
        assert not np.array_equal(expected, found)


def test_bfloat16_is_chosen_where_processor_and_model_bear_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for has in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda has=has: has)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        for bears in (True, False):
            expected = torch.bfloat16 if has and bears else torch.float32
            assert choose_dtype("auto", CPU, bears_bfloat16=bears) is expected
