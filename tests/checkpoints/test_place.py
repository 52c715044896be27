"""Placing tensors: strict, and told."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from scfm_scverse._errors import CheckpointError
from scfm_scverse.checkpoints import LoadReport, place, read_torch


def network() -> torch.nn.Module:
    """Two layers on no device."""
    with torch.device("meta"):
        return torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))


def tensors() -> dict[str, torch.Tensor]:
    """What fits the network."""
    return {
        "0.weight": torch.arange(6.0).reshape(3, 2),
        "0.bias": torch.ones(3, dtype=torch.float64),
        "1.weight": torch.ones(1, 3, dtype=torch.float16),
        "1.bias": torch.zeros(1),
    }


def test_every_tensor_is_placed_as_float32_or_listed() -> None:
    module = network()
    given = {**tensors(), "position_ids": torch.arange(3), "head.a": torch.ones(1), "what": torch.ones(1)}
    ignored = {"position_ids": "not stored", r"head\..*": "of a head"}
    names = {"0.weight": "encoder.weight", "head.a": "cls.a"}
    report = place(module, given, source="file", layout="toy", ignored=ignored, names=names, facts={"layers": "2"})
    assert all(parameter.dtype == torch.float32 and not parameter.is_meta for parameter in module.parameters())
    assert torch.equal(module.get_parameter("0.weight"), given["0.weight"])
    assert report.placed == ("encoder.weight", "0.bias", "1.weight", "1.bias")
    assert report.ignored == {"position_ids": "not stored", "cls.a": "of a head", "what": "unknown to this model"}
    assert str(report).splitlines()[:3] == ["file: toy", "  layers: 2", "  4 tensors loaded"]


def test_missing_tensor_is_named_as_the_file_would() -> None:
    given = {name: tensor for name, tensor in tensors().items() if name == "0.bias"}
    with pytest.raises(CheckpointError, match=r"file lacks the tensor 'encoder\.weight' and 2 more; .* of toy"):
        place(network(), given, source="file", layout="toy", names={"0.weight": "encoder.weight"})


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (torch.ones(2, 3), "of shape (2, 3); expected (3, 2) (toy)."),
        (torch.ones(6), "of shape (6,); expected (3, 2) (toy)."),
        (torch.ones(3, 2, dtype=torch.int8), "of shape (3, 2), torch.int8; expected (3, 2), torch.float32 (toy)."),
    ],
)
def test_tensor_that_does_not_fit_is_refused(tensor: torch.Tensor, message: str) -> None:
    with pytest.raises(CheckpointError) as error:
        place(network(), {**tensors(), "0.weight": tensor}, source="file", layout="toy")
    assert str(error.value) == f"file holds '0.weight' {message}"


def test_parameter_that_may_be_made_keeps_its_values() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    before = module.get_parameter("1.weight").clone()
    given = {name: tensor for name, tensor in tensors().items() if name.startswith("0.")}
    report = place(module, given, source="file", layout="toy", made={r"1\..*": "no head in the file"})
    assert torch.equal(module.get_parameter("1.weight"), before)
    assert report.made == {"1.weight": "no head in the file", "1.bias": "no head in the file"}
    assert "made afresh: 1.weight, 1.bias (no head in the file)" in str(report)


def test_report_stays_short() -> None:
    report = LoadReport("file", "toy", ("a",), ignored={f"t{i}": "of a decoder" for i in range(80)})
    assert str(report).splitlines()[-1] == "  left out: t0, t1, t2 and 77 more (of a decoder)"


def test_network_owns_its_weights(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2, 3), "bias": torch.zeros(2)}, tmp_path / "weights.pt")
    with torch.device("meta"):
        network = torch.nn.Linear(3, 2)
    place(network, read_torch(tmp_path / "weights.pt"), source="weights.pt", layout="toy")
    (tmp_path / "weights.pt").write_bytes(b"another file")  # while the network lives
    assert bool((network.weight == 1).all())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(number: float) -> None:
    tensors = {"weight": torch.ones(2, 3), "bias": torch.tensor([0.0, number])}
    with pytest.raises(CheckpointError, match="'bias' with NaN or infinite numbers"):
        place(torch.nn.Linear(3, 2), tensors, source="weights.pt", layout="toy")
