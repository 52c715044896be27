"""Attention of named genes and weights of genes, beside the original's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scfm_scverse._errors import InputError
from scfm_scverse.models import Attention, Wanted
from scfm_scverse.models.scbert.model import ScBERT

from .conftest import WHERE, Golden

WANTED = frozenset({"attention"})


def rows_of_attention(golden: Golden) -> list[int]:
    """The two cells whose attention is stored."""
    return [0, golden.arrays("inputs")["kept_cells"].tolist().index("exact_powers")]


def whole_map(golden: Golden, model: ScBERT, row: int, layer: int) -> np.ndarray:
    """Attention of every position to every position, [h, query, key]."""
    v = len(model.spec.genes)
    asked = Wanted(outputs=WANTED, attention=Attention(genes=tuple(range(v)), layer=layer))
    found = model.encode(golden.tokens(model, [row]), asked, **WHERE).attention
    assert found is not None
    assert not found.cell.any()
    np.testing.assert_array_equal(found.query, np.repeat(np.arange(v), v))
    np.testing.assert_array_equal(found.key, np.tile(np.arange(v), v))
    return found.weights.view(v, v, -1).permute(2, 0, 1).numpy()


def test_attention_is_that_of_the_layers_own_input(golden: Golden) -> None:
    model, stored = golden.load(), golden.arrays("forward")["attention0_own_input_fp32"]
    found = np.stack([whole_map(golden, model, 0, layer - len(stored)) for layer in range(len(stored))])
    np.testing.assert_allclose(found, stored, rtol=2e-3, atol=1e-4)
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("which", [0, 1])
def test_attention_as_published_is_the_originals(golden: Golden, which: int) -> None:
    model, stored = golden.load(mode="original"), golden.arrays("forward")
    layers = range(-model.spec.n_layers, 0)
    row = rows_of_attention(golden)[which]
    found = np.mean([whole_map(golden, model, row, layer).mean(0) for layer in layers], 0)
    np.testing.assert_allclose(found, stored[f"attention{which}_second_call_fp32"], rtol=1e-4, atol=2e-6)
    np.testing.assert_allclose(found, stored[f"attention{which}_original"], rtol=0, atol=1e-4)


@pytest.mark.parametrize("which", [0, 1])
def test_gene_weights_are_the_originals_without_any_map(golden: Golden, which: int) -> None:
    stored, row = golden.arrays("forward"), rows_of_attention(golden)[which]
    model = golden.load(mode="original")
    found = model.gene_weights(golden.tokens(model, [row]), **WHERE)[0].numpy()
    np.testing.assert_allclose(found, stored[f"attention{which}_gene_weight_original"], rtol=0, atol=1e-4)
    exact = stored[f"attention{which}_second_call_fp32"].mean(0)
    np.testing.assert_allclose(found, exact / exact.sum(), rtol=1e-4, atol=1e-6)


def test_gene_weights_of_the_layers_own_inputs(golden: Golden) -> None:
    model = golden.load()
    found = model.gene_weights(golden.tokens(model, [0, 4]), **WHERE).numpy()
    exact = golden.arrays("forward")["attention0_own_input_fp32"].astype(np.float64).mean((0, 1, 2))
    np.testing.assert_allclose(found[0], exact, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)


def test_only_the_named_genes_and_heads_are_given(golden: Golden) -> None:
    model = golden.load()
    tokens = golden.tokens(model, [2, 9])
    asked = Attention(genes=(5, 3), layer=-1, heads=(1,))
    found = model.encode(tokens, Wanted(outputs=WANTED, attention=asked), **WHERE)
    assert found.cell is None
    assert found.gene is None
    assert found.attention is not None
    v = len(model.spec.genes)
    assert found.attention.weights.shape == (2 * 2 * v, 1)
    assert found.attention.cell.unique(return_counts=True)[1].tolist() == [2 * v, 2 * v]
    for cell, row in enumerate((2, 9)):
        mine = found.attention.cell == cell
        for gene in (5, 3):
            weights = found.attention.weights[mine & (found.attention.query == gene)]
            expected = whole_map(golden, model, row, -1)[1, gene]
            np.testing.assert_allclose(weights[:, 0], expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("asked", [Attention(genes=(0,), heads=(9,)), Attention(genes=(0,), layer=-4)])
def test_head_or_layer_that_is_not_there_is_an_error(golden: Golden, asked: Attention) -> None:
    model = golden.load()
    with torch.inference_mode(), pytest.raises(InputError, match="expected"):
        model.encode(golden.tokens(model, [0]), Wanted(outputs=WANTED, attention=asked), **WHERE)
