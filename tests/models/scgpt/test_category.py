"""Models whose values are categories: bins, then one for padding and one for what is hidden."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pytest
import torch
from anndata import AnnData
from torch import Tensor

import scfm_scverse as scfm
from scfm_scverse._errors import CheckpointError

Write = Callable[..., Path]


@pytest.fixture
def adata(folder: Path) -> AnnData:
    return anndata.read_h5ad(folder / "input.h5ad")


@pytest.fixture
def of_categories(write: Write, tensors: dict[str, Tensor]) -> Callable[..., Path]:
    """Write a checkpoint with this number of categories, of random vectors."""
    width = len(tensors["encoder.enc_norm.weight"])

    def write_(n: int, **args: Any) -> Path:
        table = torch.randn(n, width, generator=torch.Generator().manual_seed(n))
        norm = {"weight": torch.ones(width), "bias": torch.zeros(width)}
        state = {f"value_encoder.enc_norm.{name}": one for name, one in norm.items()}
        return write(state={"value_encoder.embedding.weight": table, **state}, args=args)

    return write_


def embedding(adata: AnnData, model: Any, **arguments: Any) -> np.ndarray:
    scfm.tl.embed(adata, model=model, key_added="X_test", **{"dtype": "float32", **arguments})
    return np.asarray(adata.obsm.pop("X_test"))


def values_of(adata: AnnData, model: Any) -> tuple[np.ndarray, np.ndarray]:
    """Values of <cls>, and of the genes."""
    match = scfm.genes.resolve_genes(adata.var_names.tolist(), organism="human")
    columns = scfm.models.Columns(model.positions(match, None), np.ones(adata.n_vars, bool), 0.0)
    tokens = model.tokenizer(columns)(adata.X)
    return tokens.values[tokens.ids == model.cls], tokens.values[tokens.ids != model.cls]


def test_the_stored_variant_embeds_cells(folder: Path, write: Write, adata: AnnData) -> None:
    if folder.name == "second":
        pytest.skip("has no such arrays")
    stored = np.load(folder / "extra_weights.npz")
    prefix = "category|"
    state = {name.removeprefix(prefix): torch.from_numpy(stored[name]) for name in stored if name.startswith(prefix)}
    model = scfm.models.load(write(state=state))
    assert model.network.config.value_style == "category"
    assert model.report().facts["bins"] == "51"
    first, bins = values_of(adata, model)
    assert set(first) == {0}
    assert (bins.min(), bins.max()) == (1, 50)
    found = embedding(adata, model)
    for cell in (0, 8, 9):
        assert np.linalg.norm(found[cell]) == pytest.approx(1, abs=1e-5)
    original = scfm.models.load(write(state=state), mode="original", ties="middle")
    alike = embedding(adata, scfm.models.load(write(state=state), ties="middle"))[9]
    np.testing.assert_allclose(embedding(adata, original)[9], alike, atol=1e-5)


@pytest.mark.parametrize("pooling", ["cls", "mean", "weighted"])
@pytest.mark.parametrize("mode", ["default", "original"])
@pytest.mark.parametrize("n", [4, 13, 300])
def test_any_number_of_categories_works(
    of_categories: Callable[..., Path], adata: AnnData, n: int, mode: str, pooling: str
) -> None:
    model = scfm.models.load(of_categories(n), mode=mode)
    first, bins = values_of(adata, model)
    assert set(first) == {0}
    assert bins.max() == n - 3
    assert bins.min() >= 1
    found = embedding(adata, model, pooling=pooling)
    assert np.isfinite(found[[0, 8, 9]]).all()


def test_categories_are_told_apart_in_bfloat16(of_categories: Callable[..., Path], adata: AnnData) -> None:
    model = scfm.models.load(of_categories(2000))
    exact, found = (embedding(adata, model, dtype=dtype, pooling="mean") for dtype in ("float32", "bfloat16"))
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(found, axis=1)
    assert np.nanmin((exact * found).sum(axis=1) / lengths) > 0.999


def test_bins_are_those_of_the_table_whatever_args_json_says(of_categories: Callable[..., Path]) -> None:
    facts = scfm.models.load(of_categories(13, n_bins=51)).report().facts
    assert facts["bins"] == "11, as the 13 categories have it; args.json says 51"


@pytest.mark.parametrize("value", [-2, 53, 0.5])
def test_a_value_of_cls_outside_the_table_is_an_error(of_categories: Callable[..., Path], value: float) -> None:
    path = of_categories(53)
    with pytest.raises(
        CheckpointError, match=rf"53 categories.*cls_value={float(value)}; expected cls_value= .* 0 to 52"
    ):
        scfm.models.load(path, cls_value=value)


def test_a_value_of_cls_inside_the_table_is_used(of_categories: Callable[..., Path], adata: AnnData) -> None:
    model = scfm.models.load(of_categories(53), cls_value=52)
    assert set(values_of(adata, model)[0]) == {52}


@pytest.mark.parametrize("n", [1, 3])
def test_too_few_categories_are_an_error(of_categories: Callable[..., Path], n: int) -> None:
    with pytest.raises(CheckpointError, match=rf"{n} categories of values; expected 4 or more"):
        scfm.models.load(of_categories(n))
