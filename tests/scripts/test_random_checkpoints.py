"""Random checkpoints have the layout of the released ones, and those of the tutorial are what the script writes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from scfm_scverse.checkpoints import read_weights
from support import GENES

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from random_checkpoints import PUBLISHED, write_checkpoint

TINY_CHECKPOINTS = Path(__file__).resolve().parents[2] / "tutorials" / "tiny_checkpoints"
FILES = {
    "scgpt": "best_model.pt",
    "geneformer-v1": "model.safetensors",
    "geneformer-v2": "model.safetensors",
    "scfoundation": "models.ckpt",
    "scbert": "panglao_pretrain.pth",
}
OF_THE_ORIGINALS = {
    "scgpt": "scgpt/model",
    "geneformer-v1": "geneformer/model_v1",
    "geneformer-v2": "geneformer/model_v2",
    "scfoundation": "scfoundation",
    "scbert": "scbert",
}


def tensors_of(stored: dict[str, Any], prefix: str = "") -> dict[str, torch.Tensor]:
    """Tensors of a file by their names, entries around them in front; optimisers left out."""
    found = {f"{prefix}{name}": one for name, one in stored.items() if isinstance(one, torch.Tensor)}
    for name, one in stored.items():
        if isinstance(one, dict) and "optimizer" not in name:
            found |= tensors_of(one, f"{prefix}{name}/")
    return found


@pytest.mark.parametrize("layout", FILES)
def test_tensors_are_called_as_in_the_originals(shared: Path, tmp_path: Path, layout: str) -> None:
    write_checkpoint(layout, tmp_path, GENES)

    def kinds(folder: Path) -> dict[str, tuple[int, torch.dtype]]:
        tensors = tensors_of(read_weights(folder / FILES[layout]))
        return {re.sub(r"\.\d+\.", ".0.", name): (one.ndim, one.dtype) for name, one in tensors.items()}

    assert kinds(tmp_path) == kinds(shared / "golden" / OF_THE_ORIGINALS[layout])


@pytest.mark.parametrize(("layout", "n_numbers"), [("geneformer-v1", 10_288_722), ("scbert", 5_007_207 + 3_381_400)])
def test_published_sizes_are_those_of_the_releases(tmp_path: Path, layout: str, n_numbers: int) -> None:
    write_checkpoint(layout, tmp_path, None, sizes=PUBLISHED)
    tensors = tensors_of(read_weights(tmp_path / FILES[layout]))
    counted = [one for name, one in tensors.items() if one.is_floating_point() and "projection" not in name]
    assert sum(one.numel() for one in counted) == n_numbers


@pytest.mark.parametrize("layout", [path.name for path in TINY_CHECKPOINTS.iterdir() if path.is_dir()])
def test_checkpoints_of_the_tutorial_are_what_the_script_writes(tmp_path: Path, layout: str) -> None:
    stored = TINY_CHECKPOINTS / layout
    write_checkpoint(layout, tmp_path, (TINY_CHECKPOINTS / "scbert" / "genes.txt").read_text().split())
    assert sorted(path.name for path in stored.iterdir()) == sorted(path.name for path in tmp_path.iterdir())
    for path in stored.iterdir():
        if path.suffix in {".json", ".tsv", ".txt"}:
            assert path.read_text() == (tmp_path / path.name).read_text()
    expected, found = (tensors_of(read_weights(folder / FILES[layout])) for folder in (stored, tmp_path))
    assert expected.keys() == found.keys()
    for name, one in expected.items():
        torch.testing.assert_close(found[name], one)


def test_checkpoints_of_the_tutorial_are_small() -> None:
    files = [path for path in TINY_CHECKPOINTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
