"""The toy checkpoints, and cells to run through them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.files import Checkpoint, our_name, read_checkpoint
from scfm_scverse.models.scgpt.network import ScgptNetwork
from scfm_scverse.nn import Spans


@pytest.fixture(params=["", pytest.param("second", marks=pytest.mark.holdout)], ids=["first", "second"])
def folder(request: pytest.FixtureRequest, shared: Path) -> Path:
    """One of the two folders of arrays; the second is held out."""
    return shared / "golden" / "scgpt" / request.param


@pytest.fixture
def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder / "model")


@pytest.fixture
def tensors(folder: Path) -> dict[str, Tensor]:
    return dict(torch.load(folder / "model" / "best_model.pt", weights_only=True))


@pytest.fixture
def write(folder: Path, tmp_path: Path, tensors: dict[str, Tensor]) -> Callable[..., Path]:
    """Write a checkpoint like the stored one, but for some entries; ``None`` takes one away."""

    def change(entries: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in {**entries, **changes}.items() if value is not None}

    def write_(
        state: dict[str, Tensor | None] | None = None,
        vocab: dict[str, Any] | None = None,
        args: dict[str, Any] | None = None,
    ) -> Path:
        for name, changes in (("vocab.json", vocab), ("args.json", args)):
            stored = json.loads((folder / "model" / name).read_text())
            (tmp_path / name).write_text(json.dumps(change(stored, changes or {})))
        torch.save(change(tensors, state or {}), tmp_path / "best_model.pt")
        return tmp_path

    return write_


@dataclass(frozen=True)
class Cells:
    """Six cells, in double precision; ``real`` tells their tokens from the padding of the stored arrays, [b, l]."""

    ids: Tensor
    real: Tensor
    spans: Spans
    arrays: Mapping[str, np.ndarray]

    def values(self, name: str) -> Tensor:
        """Values of the tokens [t]."""
        return self.rows(self.arrays[name]).double()

    def rows(self, padded: np.ndarray) -> Tensor:
        """What an array of padded cells [b, l, ...] holds of their tokens [t, ...]."""
        return torch.from_numpy(padded)[self.real]

    @property
    def masked(self) -> Tensor:
        """Tokens whose values are hidden [t]."""
        return self.values("value_masked") == -1


@pytest.fixture
def cells(folder: Path, checkpoint: Checkpoint) -> Cells:
    arrays = np.load(folder / "inputs.npz")
    ids = torch.from_numpy(arrays["gene"].astype(np.int64))
    real = ids != checkpoint.vocabulary.tolist().index("<pad>")
    spans = Spans(tuple(real.sum(1).tolist()))
    assert spans.lengths == tuple(arrays["lengths"])
    return Cells(ids[real], real, spans, arrays)


@pytest.fixture
def make_network(folder: Path, checkpoint: Checkpoint) -> Callable[..., ScgptNetwork]:
    """Build the network of a variant of the checkpoint, in double precision."""
    stored = np.load(folder / "extra_weights.npz")

    def make(variant: str = "", **args: object) -> ScgptNetwork:
        extra = {
            our_name(name.removeprefix(f"{variant}|")): torch.from_numpy(stored[name])
            for name in stored
            if variant and name.startswith(f"{variant}|")
        }
        changed = replace(
            checkpoint, tensors={**checkpoint.tensors, **extra}, args={**checkpoint.args, "dropout": 0.0, **args}
        )
        return build_network(changed)[0].double()

    return make


def assert_gradients(network: ScgptNetwork, arrays: Mapping[str, np.ndarray], prefix: str) -> None:
    """Compare the gradients that an array file holds under ``prefix|``, and let go of them."""
    names = [name for name in arrays if name.startswith(f"{prefix}|")]
    parameters = dict(network.named_parameters())
    assert names
    for name in names:
        found = parameters[our_name(name.removeprefix(f"{prefix}|"))].grad
        assert found is not None, name
        np.testing.assert_allclose(found, arrays[name], rtol=1e-3, atol=1e-6, err_msg=name)
    network.zero_grad()


@pytest.fixture
def check_gradients() -> Callable[[ScgptNetwork, Mapping[str, np.ndarray], str], None]:
    return assert_gradients
