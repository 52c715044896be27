"""Every step of the network against what stands there in the authors' program."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from scfm_scverse.models import Attention
from scfm_scverse.models.scfoundation.network import ScFoundationNetwork
from scfm_scverse.models.scfoundation.rows import Rows, make_rows

from .conftest import HERE, Golden

CLOSE = {"rtol": 0, "atol": 2e-5}


@pytest.fixture(autouse=True)
def without_gradients() -> Iterator[None]:
    with torch.inference_mode():
        yield


def mid_cell(golden: Golden, at: int) -> tuple[ScFoundationNetwork, Rows, dict[str, np.ndarray]]:
    """Network, rows and stored steps of one of the cells that were looked into."""
    stored = golden.arrays("hidden")
    model = golden.model(key="gene")
    tokens = golden.tokens(model, golden.counts(stored["mid_cells"][[at]]))
    prefix = f"mid{at}_"
    steps = {name.removeprefix(prefix): array for name, array in stored.items() if name.startswith(prefix)}
    return model.network, make_rows(tokens, model.n_genes, HERE["device"]), steps


def test_value_embedding_is_the_authors(golden: Golden) -> None:
    stored = golden.arrays("hidden")
    embedding = golden.model(key="gene").network.embedding.token_emb
    values = torch.from_numpy(stored["probe_values"])
    assert {102.0, 103.0} <= set(values.tolist())
    np.testing.assert_allclose(embedding(values), stored["probe_embedding"], **CLOSE)
    np.testing.assert_allclose(embedding.weights(values), stored["probe_bin_weights"], **CLOSE)


def test_tokens_are_the_authors(golden: Golden) -> None:
    stored = golden.arrays("hidden")
    model = golden.model(key="gene")
    tokens = golden.tokens(model, golden.counts(stored["mid_cells"]))
    rows = make_rows(tokens, model.n_genes, HERE["device"])
    dense = np.zeros_like(stored["mid_tokens"])
    dense[rows.spans.cells, rows.positions] = rows.values
    np.testing.assert_allclose(dense, stored["mid_tokens"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("at", range(4))
def test_encoder_is_the_authors(golden: Golden, at: int) -> None:
    network, rows, steps = mid_cell(golden, at)
    np.testing.assert_allclose(rows.values, steps["gathered_values"], rtol=1e-6)
    assert rows.positions.tolist() == steps["gathered_positions"].tolist()
    x = network.embedding(rows.values, rows.positions)
    np.testing.assert_allclose(x, steps["encoder_input"], **CLOSE)
    for layer in range(len(network.transformer.encoder.layers)):
        found = network.transformer(x, rows.spans, n_layers=layer + 1)
        np.testing.assert_allclose(found, steps[f"enc_layer{layer}"], **CLOSE)
    np.testing.assert_allclose(network(rows.values, rows.positions, rows.spans), steps["enc_norm"], **CLOSE)


@pytest.mark.parametrize("at", range(4))
def test_decoder_is_the_authors(golden: Golden, at: int) -> None:
    network, rows, steps = mid_cell(golden, at)
    decoder = network.decoder
    assert decoder is not None
    encoded = network(rows.values, rows.positions, rows.spans)
    full = network.embedding.zeros()
    full[rows.positions] = encoded + network.embedding.pos_emb(rows.positions)
    np.testing.assert_allclose(full, steps["decoder_full_embedding"], **CLOSE)
    x = decoder.embed(full)
    np.testing.assert_allclose(x, steps["decoder_embed"], **CLOSE)
    for k, layer in enumerate(decoder.performer.layers):
        attended = layer.attend(x[None])[0]
        np.testing.assert_allclose(attended - x, steps[f"dec_attn{k}"], **CLOSE)
        x = layer.feed(attended)
        np.testing.assert_allclose(x - attended, steps[f"dec_ff{k}"], **CLOSE)
    np.testing.assert_allclose(decoder.norm1(x), steps["dec_norm"], **CLOSE)
    vectors = network.decode(encoded, rows.positions, rows.spans)
    np.testing.assert_allclose(vectors[0], steps["final_norm"], **CLOSE)
    np.testing.assert_allclose(decoder.expression(vectors)[0], steps["prediction"], **CLOSE)


@pytest.mark.parametrize(("mode", "name"), [("default", "batch_of_one"), ("original", "one_batch_of_all")])
def test_expression_depends_on_the_minibatch_in_the_original_alone(golden: Golden, mode: str, name: str) -> None:
    stored = golden.arrays("hidden")
    model = golden.model(key="gene", mode=mode)
    answer = golden.encode(model, golden.tokens(model, golden.counts()), "expression").expression
    assert answer is not None
    np.testing.assert_allclose(answer.values, stored[f"expression_{name}"].ravel(), **CLOSE)
    other = stored["expression_one_batch_of_all" if mode == "default" else "expression_batch_of_one"]
    assert np.abs(answer.values.numpy() - other.ravel()).max() > 0.01


def decoder_weights(golden: Golden, mode: str, layer: int) -> Tensor:
    """Attention of all genes of the first stored cell, [q, k, h]."""
    model = golden.model(key="gene", mode=mode)
    tokens = golden.tokens(model, golden.counts(golden.arrays("hidden")["mid_cells"][:1]))
    wanted = Attention(genes=tuple(range(model.n_genes)), layer=layer)
    rows = model.decoder_attention(tokens, wanted, **HERE)
    assert set(rows.cell.tolist()) == {0}
    n_positions = model.n_genes + 2
    assert rows.query.tolist() == np.repeat(np.arange(model.n_genes), n_positions).tolist()
    assert rows.key.tolist() == np.tile(np.arange(n_positions), model.n_genes).tolist()
    return rows.weights.unflatten(0, (-1, n_positions))


def test_attention_of_the_decoder_as_the_original_gives_it(golden: Golden) -> None:
    stored = golden.arrays("hidden")["decoder_attention_original_fp16"]
    for layer, expected in enumerate(stored):
        found = decoder_weights(golden, "original", layer - len(stored)).permute(2, 0, 1).numpy()
        # The original computes in half precision, where the rows of many queries overflow and are lost.
        told = np.isfinite(expected[:, :-2])
        assert told.any()
        np.testing.assert_allclose(found[told], expected[:, :-2][told], rtol=0, atol=2e-3)


def test_attention_of_the_decoder_sums_to_one_and_is_what_it_computes_with(golden: Golden) -> None:
    network, _, steps = mid_cell(golden, 0)
    weights = decoder_weights(golden, "default", -len(network.decoder.performer.layers))
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    layer = network.decoder.performer.layers[0]
    x = torch.from_numpy(steps["decoder_embed"])
    values = layer.attention.heads(layer.attention.to_v(layer.norm1(x)))
    mixed = torch.einsum("qkh,khd->qhd", weights, values).flatten(1)
    np.testing.assert_allclose(layer.attention.to_out(mixed), steps["dec_attn0"][:-2], **CLOSE)
