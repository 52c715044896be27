"""Networks of genes: similar vectors and ranked attention, against the original's arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from scfm_scverse.models.scgpt.build import build_network
from scfm_scverse.models.scgpt.files import read_checkpoint
from scfm_scverse.models.scgpt.gene_network import (
    influence,
    mean_by_condition,
    nearest_genes,
    rank_scores,
    similar_pairs,
)
from scfm_scverse.models.scgpt.network import ScgptNetwork
from scfm_scverse.nn import EncoderLayer, Spans, attention_weights


@pytest.fixture
def golden(shared: Path) -> Mapping[str, np.ndarray]:
    return np.load(shared / "golden" / "scgpt" / "attention_grn.npz")


@pytest.fixture
def vectors(shared: Path) -> np.ndarray:
    return np.load(shared / "golden" / "scgpt" / "forward.npz")["gene_embedding_table"]


@pytest.fixture
def network(shared: Path) -> ScgptNetwork:
    return build_network(read_checkpoint(shared / "golden" / "scgpt" / "model"))[0]


@pytest.fixture
def last_layer(network: ScgptNetwork) -> EncoderLayer:
    layer = network.transformer_encoder.layers[-1].requires_grad_(requires_grad=False)
    assert isinstance(layer, EncoderLayer)
    return layer


def test_edges_and_nearest_genes_are_those_of_the_gene_table(
    golden: Mapping[str, np.ndarray], vectors: np.ndarray
) -> None:
    pairs, cosine = similar_pairs(vectors[:50], 0.3)
    assert (pairs == golden["edges_first50_ge_0p3"]).all()
    np.testing.assert_allclose(cosine, golden["cos_first50"][tuple(pairs.T)], rtol=1e-4, atol=2e-5)
    every, cosine = similar_pairs(vectors[:50], -1.1)
    assert len(every) == 50 * 49 // 2
    np.testing.assert_allclose(cosine, golden["cos_first50"][tuple(every.T)], rtol=1e-4, atol=2e-5)
    genes, cosine = nearest_genes(vectors, int(golden["gapdh_id"]), 15)
    assert (genes == golden["gapdh_top15_ids"]).all()
    np.testing.assert_allclose(cosine, golden["gapdh_top15_cos"], rtol=1e-4, atol=2e-5)


def test_edges_do_not_depend_on_how_many_similarities_are_held(
    vectors: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = similar_pairs(vectors, 0.3)
    monkeypatch.setattr("scfm_scverse.models.scgpt.gene_network._PRODUCT", 2000)
    parts = similar_pairs(vectors, 0.3)
    assert (parts[0] == whole[0]).all()
    np.testing.assert_allclose(parts[1], whole[1], atol=1e-6)


def test_scores_and_weights_of_the_last_layer(golden: Mapping[str, np.ndarray], last_layer: EncoderLayer) -> None:
    for cell, x in enumerate(torch.from_numpy(golden["layer_input"])):
        query, key, _ = last_layer.project(x)
        scores = torch.einsum("qhd,khd->hqk", query, key)
        np.testing.assert_allclose(scores, golden["scores_raw"][cell], rtol=1e-4, atol=2e-5)
        weights = attention_weights(query, key).permute(2, 0, 1)
        np.testing.assert_allclose(weights, golden["attention_softmax"][cell], rtol=1e-4, atol=2e-5)


def test_ranks_are_those_of_the_original_where_nothing_is_equal(golden: Mapping[str, np.ndarray]) -> None:
    every = range(25)
    for scores, rank_row, rank_column in zip(
        *(golden[name].reshape(-1, 25, 25) for name in ("scores_raw", "rank_row", "rank_row_then_col")), strict=True
    ):
        found = rank_scores(torch.from_numpy(scores), every).numpy()
        for gene in every:
            # Equal ranks within the row stand in any order in the original: their mean is what can be compared.
            expected = [rank_column[rank_row[:, gene] == one, gene].mean() for one in rank_row[:, gene]]
            np.testing.assert_array_equal(found[:, gene], expected)


sorts_alike = pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX"), reason="torch sorts equal numbers in another order"
)


@sorts_alike
def test_original_ranks_are_those_of_torchs_unstable_sort(golden: Mapping[str, np.ndarray]) -> None:
    scores, expected = (golden[name].reshape(-1, 25, 25) for name in ("scores_raw", "rank_row_then_col"))
    for one, rank in zip(scores, expected, strict=True):
        assert (rank_scores(torch.from_numpy(one), range(25), mode="original").numpy() == rank).all()


@sorts_alike
def test_targets_of_a_regulator_are_those_of_the_original(
    golden: Mapping[str, np.ndarray], network: ScgptNetwork
) -> None:
    ids, values = torch.from_numpy(golden["gene"]), torch.from_numpy(golden["value"])
    assert (ids == ids[0]).all()
    ranks = influence(network.double(), ids[0], values.double(), range(25), mode="original")
    np.testing.assert_allclose(ranks, golden["rank_mean_heads"], rtol=1e-5, atol=1e-6)
    condition, gene = golden["condition"].tolist(), int(golden["tf_position"])
    differences = {}
    for mode, name in (("default", "correct"), ("original", "original")):
        means = mean_by_condition(ranks, condition, mode=mode)
        for one, mean in means.items():
            np.testing.assert_allclose(mean, golden[f"mean_{name}|{one}"], rtol=1e-4, atol=1e-6)
        differences[name] = (means["P"] - means["ctrl"])[:, gene].numpy()
        np.testing.assert_allclose(differences[name], golden[f"difference_{name}"], rtol=1e-4, atol=1e-6)
    # Of equal differences any may be the last of the five.
    correct = differences["correct"].round(9)
    assert np.sort(correct)[:-6:-1].tolist() == correct[golden["top5_correct"]].tolist()
    assert set(np.argsort(-differences["original"])[:5].tolist()) == set(golden["top5_original_set"].tolist())
    only = influence(network, ids[0], values.double(), [gene], mode="original")
    np.testing.assert_array_equal(only[..., 0], ranks[..., gene])


def test_what_enters_the_last_layer(golden: Mapping[str, np.ndarray], network: ScgptNetwork) -> None:
    ids, values = torch.from_numpy(golden["gene"]), torch.from_numpy(golden["value"])
    x = network.embed(network.encoder(ids.flatten()), values.flatten())
    found = network.transformer_encoder(x, Spans((25,) * 8), n_layers=2)
    np.testing.assert_allclose(found.detach(), golden["layer_input"].reshape(-1, 32), rtol=1e-4, atol=2e-5)


class Largest(TorchDispatchMode):
    """Remembers the most numbers that any tensor held."""

    numbers = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        made = [one for one in (out if isinstance(out, tuple | list) else [out]) if isinstance(one, torch.Tensor)]
        self.numbers = max([self.numbers, *(one.numel() for one in made)])
        return out


def test_no_more_than_one_matrix_of_attention_is_held(network: ScgptNetwork) -> None:
    ids, values = torch.arange(290), torch.ones(3, 290)
    with torch.no_grad(), Largest() as largest:
        ranks = influence(network, ids, values, [3, 5])
    assert ranks.shape == (3, 290, 2)
    assert largest.numbers <= 290 * 290  # four heads and three cells would be twelve times as much


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_ranks_are_those_of_scipy_and_do_not_depend_on_the_order_of_genes(seed: int, t: int) -> None:
    from scipy.stats import rankdata

    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 4, (t, t)).astype(np.float32)  # many are equal
    expected = rankdata(rankdata(scores, axis=1), axis=0) - 1
    genes = rng.integers(0, t, 3).tolist()
    np.testing.assert_array_equal(rank_scores(torch.from_numpy(scores), genes), expected[:, genes])
    order = rng.permutation(t)
    shuffled = rank_scores(torch.from_numpy(scores[order][:, order]), range(t))
    np.testing.assert_array_equal(shuffled, expected[order][:, order])
