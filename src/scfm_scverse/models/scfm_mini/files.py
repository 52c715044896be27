"""Weights of scfm-mini: what they are, and their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..._errors import CheckpointError
from ...io.safetensors import hash_tensors, load_tensors, save_tensors
from ..base import ModelSpec

if TYPE_CHECKING:
    from .model import ScfmMini

NAME = "scfm-mini.safetensors"
WEIGHTS = Path(__file__).parents[1] / "weights" / NAME
TENSORS = ("embedding", "mean", "sd", "gene")
CLIP = 8.0  # standard deviations beyond which a gene counts no more


@dataclass(frozen=True)
class MiniWeights:
    """Numbers of the model.

    Attributes
    ----------
    embedding
        float32 [v, d]: a vector for each gene of the vocabulary.
    mean, sd
        float32 [v]: typical mean and standard deviation of log values inside a study.
    ridge
        Strength of the penalty on a cell's vector.
    classes
        float32 [c, d + 1]: linear map from a cell's vector and a one to scores of classes; ``None`` without a head.
    """

    embedding: NDArray[np.float32]
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    ridge: float
    classes: NDArray[np.float32] | None = None


def weights_file(path: Path) -> Path:
    """The file itself, or that in a folder."""
    return path / NAME if path.is_dir() else path


def load_scfm_mini(path: Path | None = None) -> ScfmMini:
    """Read the weights that come with the package, or others of the same layout."""
    return from_tensors(*load_tensors(WEIGHTS if path is None else path))


def from_tensors(tensors: dict[str, NDArray[Any]], about: dict[str, Any]) -> ScfmMini:
    """Build the model from what its file holds."""
    from .model import ScfmMini

    missing = [name for name in TENSORS if name not in tensors]
    if missing:
        msg = f"The weights of scfm-mini lack the tensor {missing[0]!r}; the file is damaged or of another model."
        raise CheckpointError(msg)
    weights = MiniWeights(
        embedding=tensors["embedding"].astype(np.float32),
        mean=tensors["mean"],
        sd=tensors["sd"],
        ridge=float(about["ridge"]),
        classes=tensors.get("classes"),
    )
    return ScfmMini(weights, spec_of(tensors, about["version"]))


def spec_of(tensors: dict[str, NDArray[Any]], version: str) -> ModelSpec:
    """Describe the model of these tensors."""
    n_genes, dim = tensors["embedding"].shape
    return ModelSpec(
        name="scfm-mini",
        version=version,
        weights_hash=hash_tensors(tensors),
        genes=ensembl_of_numbers(tensors["gene"]),
        organism="human",
        dim=dim,
        key_added="X_scfm",
        outputs=frozenset({"cell", "expression"}),
        needs_counts=False,
        licence="BSD-3-Clause",
        citation="the scfm-scverse package",
        description=f"Linear model of {n_genes:,} human genes: a vector for each, a ridge regression for each cell.",
    )


def tensors_of(weights: MiniWeights, genes: NDArray[np.str_]) -> dict[str, NDArray[Any]]:
    """What a file holds of a model; in half precision where that loses nothing, as in the weights of the package."""
    half = weights.embedding.astype(np.float16)
    tensors: dict[str, NDArray[Any]] = {
        "embedding": half if np.array_equal(half.astype(np.float32), weights.embedding) else weights.embedding,
        "mean": weights.mean,
        "sd": weights.sd,
        "gene": numbers_of_ensembl(genes),
    }
    return tensors if weights.classes is None else tensors | {"classes": weights.classes}


def write_scfm_mini(model: ScfmMini, folder: Path) -> None:
    """Write the weights into a new folder."""
    folder.mkdir()
    about = {"version": model.spec.version, "ridge": model.weights.ridge}
    save_tensors(folder / NAME, tensors_of(model.weights, model.spec.genes), about)


def ensembl_of_numbers(numbers: NDArray[np.integer]) -> NDArray[np.str_]:
    """Ensembl gene ids of their numbers: how the files store them."""
    return np.array([f"ENSG{number:011d}" for number in numbers])


def numbers_of_ensembl(ids: NDArray[np.str_]) -> NDArray[np.int64]:
    """Numbers of Ensembl gene ids."""
    return np.array([int(name.removeprefix("ENSG")) for name in ids.tolist()], np.int64)
