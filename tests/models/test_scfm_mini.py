"""scfm-mini: the ridge projection against its naive twin, and its file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from naive.ridge import naive_cell_vectors
from scfm_scverse._errors import CheckpointError, InputError
from scfm_scverse.io.safetensors import load_tensors, save_tensors
from scfm_scverse.models import Wanted, load
from scfm_scverse.models.scfm_mini import WEIGHTS, MiniWeights, ScfmMini, from_tensors, load_scfm_mini
from scfm_scverse.tokens import Tokens

CELL, CPU = Wanted(), torch.device("cpu")


def tokens_of(values: np.ndarray, measured: np.ndarray) -> Tokens:
    """Tokens of dense log values, in a shuffled order inside each cell."""
    rng = np.random.default_rng(0)
    ids = [rng.permutation(np.flatnonzero(row)) for row in values]
    indptr = np.concatenate([[0], np.cumsum([len(cell) for cell in ids])]).astype(np.int64)
    shuffled = [row[cell] for row, cell in zip(values, ids, strict=True)]
    return Tokens(indptr, np.concatenate(ids).astype(np.int32), np.concatenate(shuffled).astype(np.float32), measured)


@given(
    st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(2, 40), st.integers(1, 8), st.sampled_from([0.3, 30.0])
)
def test_cell_vectors_are_those_of_the_naive_twin(seed: int, n: int, v: int, d: int, ridge: float) -> None:
    rng = np.random.default_rng(seed)
    weights = MiniWeights(
        embedding=rng.normal(size=(v, d)).astype(np.float32),
        # Some genes lie beyond the clip, with a zero count as well as with a large one.
        mean=rng.gamma(1, 1, v).astype(np.float32),
        sd=rng.uniform(0.05, 1, v).astype(np.float32),
        ridge=ridge,
    )
    model = ScfmMini(weights, replace(load("scfm-mini").spec, dim=d, genes=np.array([f"g{i}" for i in range(v)])))
    measured = rng.random(v) < 0.8
    measured[0] = True
    values = (rng.gamma(1, 3, (n, v)) * (rng.random((n, v)) < 0.5) * measured).astype(np.float32)
    found = model.encode(tokens_of(values, measured), CELL, device=CPU, dtype=torch.float32).cell.numpy()
    expected = naive_cell_vectors(values, measured, weights.embedding, weights.mean, weights.sd, ridge)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.fixture(scope="module")
def real_tokens() -> Tokens:
    """Thirty cells over half of the genes of the real model."""
    rng = np.random.default_rng(0)
    measured = rng.random(len(load("scfm-mini").spec.genes)) < 0.5
    values = rng.gamma(2, 1, (30, len(measured))) * (rng.random((30, len(measured))) < 0.1) * measured
    return tokens_of(values.astype(np.float32), measured)


def test_real_weights_agree_with_the_naive_twin(real_tokens: Tokens) -> None:
    model = load("scfm-mini")
    values = np.zeros((len(real_tokens), len(model.spec.genes)))
    values[np.repeat(np.arange(len(real_tokens)), real_tokens.lengths), real_tokens.ids] = real_tokens.values
    weights = model.weights
    expected = naive_cell_vectors(
        values, real_tokens.measured, weights.embedding, weights.mean, weights.sd, weights.ridge
    )
    found = model.encode(real_tokens, CELL, device=CPU, dtype=torch.float32).cell.numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_bfloat16_stays_near_float32(real_tokens: Tokens) -> None:
    exact, short = (
        load("scfm-mini").encode(real_tokens, CELL, device=CPU, dtype=dtype).cell
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert short.dtype == torch.float32
    assert float((exact * short).sum(dim=1).min()) > 0.999


def test_output_that_the_model_does_not_have_is_an_error(real_tokens: Tokens) -> None:
    want = Wanted(frozenset({"cell", "gene"}))
    with pytest.raises(InputError, match="scfm-mini gives cell, expression; it was asked for cell, gene"):
        load("scfm-mini").encode(real_tokens, want, device=CPU, dtype=torch.float32)
    with pytest.raises(InputError, match="pooling='mean'; expected None"):
        load("scfm-mini").encode(real_tokens, Wanted(pooling="mean"), device=CPU, dtype=torch.float32)
    with pytest.raises(InputError, match="output_layer=-3; expected None"):
        load("scfm-mini").encode(real_tokens, Wanted(layer=-3), device=CPU, dtype=torch.float32)


def test_decoded_expression_is_that_of_the_ridge_fit(real_tokens: Tokens) -> None:
    model = load("scfm-mini")
    few = real_tokens.take(np.arange(3))
    told = model.encode(few, Wanted(frozenset({"expression"})), device=CPU, dtype=torch.float32).expression
    weights, measured = model.weights, np.flatnonzero(few.measured)
    gene = weights.embedding[measured].astype(np.float64)
    for cell in range(3):
        values = np.zeros(len(weights.mean))
        here = slice(few.indptr[cell], few.indptr[cell + 1])
        values[few.ids[here]] = few.values[here]
        z = np.clip((values - weights.mean) / weights.sd, -8, 8)[measured]
        fitted = gene @ np.linalg.solve(gene.T @ gene + weights.ridge * np.eye(gene.shape[1]), gene.T @ z)
        rows = (told.cell == cell).numpy()
        assert told.gene[rows].tolist() == measured.tolist()
        expected = weights.mean[measured] + weights.sd[measured] * fitted
        np.testing.assert_allclose(told.values[rows].numpy(), expected, atol=1e-4)


def test_gene_never_measured_has_no_influence(real_tokens: Tokens) -> None:
    model = load("scfm-mini")
    unseen = np.flatnonzero(~real_tokens.measured)
    embedding = model.weights.embedding.copy()
    embedding[unseen] = 5
    other = ScfmMini(replace(model.weights, embedding=embedding), model.spec)
    first, second = (m.encode(real_tokens, CELL, device=CPU, dtype=torch.float32).cell for m in (model, other))
    assert torch.equal(first, second)


def test_weights_are_read_back_and_named_by_their_bytes(tmp_path: Path) -> None:
    tensors, about = load_tensors(WEIGHTS)
    save_tensors(tmp_path / "same.safetensors", tensors, about)
    assert load_scfm_mini(tmp_path / "same.safetensors").spec.id == load("scfm-mini").spec.id
    changed = {**tensors, "mean": tensors["mean"] + np.float32(0.5)}
    assert from_tensors(changed, about).spec.id != load("scfm-mini").spec.id


def test_weights_without_a_tensor_are_an_error_that_names_it() -> None:
    tensors, about = load_tensors(WEIGHTS)
    del tensors["sd"]
    with pytest.raises(CheckpointError, match="'sd'"):
        from_tensors(tensors, about)


def test_missing_and_damaged_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file"):
        load_scfm_mini(tmp_path / "absent.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(WEIGHTS.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_scfm_mini(tmp_path / "cut.safetensors")
