"""The encoder in other programs."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from scfm_scverse.models import Wanted
from scfm_scverse.models.scfm_latent.export import PaddedEncoder
from scfm_scverse.models.scfm_latent.model import ScfmLatent
from scfm_scverse.tokens import Tokens


def padded(tokens: Tokens) -> tuple[torch.Tensor, torch.Tensor]:
    real = torch.arange(int(tokens.lengths.max())) < torch.from_numpy(tokens.lengths)[:, None]
    ids, values = torch.zeros(real.shape, dtype=torch.int64), torch.zeros(real.shape)
    ids[real], values[real] = torch.from_numpy(tokens.ids.astype(np.int64)), torch.from_numpy(tokens.values)
    return ids, values


def cells(model: ScfmLatent, tokens: Tokens) -> torch.Tensor:
    return model.encode(tokens, Wanted(), device=torch.device("cpu"), dtype=torch.float32).cell


def test_padded_cells_give_the_same_vectors(model: ScfmLatent, tokens: Tokens) -> None:
    with torch.inference_mode():
        found = PaddedEncoder(model.network)(*padded(tokens))
    torch.testing.assert_close(found, cells(model, tokens), rtol=0, atol=1e-5)


@pytest.mark.slow
def test_onnx_gives_the_same_vectors_for_any_number_of_cells_and_genes(
    model: ScfmLatent, tokens: Tokens, tmp_path: Path
) -> None:
    for name in ("onnx", "onnxscript"):
        pytest.importorskip(name, reason=f"needs {name}: pip install scfm-scverse[export]")
    runtime = pytest.importorskip("onnxruntime", reason="needs onnxruntime: pip install scfm-scverse[export]")
    path = tmp_path / "encoder.onnx"
    sizes = {0: torch.export.Dim("cells"), 1: torch.export.Dim("genes")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            PaddedEncoder(model.network).eval(),
            padded(tokens),
            path,
            dynamo=True,
            dynamic_shapes=(sizes, sizes),
            input_names=["ids", "values"],
            verbose=False,
        )
    session = runtime.InferenceSession(path)
    for chosen in (np.arange(7), np.array([2, 4])):
        some = tokens.take(chosen)
        ids, values = (one.numpy() for one in padded(some))
        (found,) = session.run(None, {"ids": ids, "values": values})
        np.testing.assert_allclose(found, cells(model, some).numpy(), rtol=0, atol=1e-4)
