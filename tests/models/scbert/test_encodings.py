"""Encodings, hidden states and logits beside the original's."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scfm_scverse.models import Wanted
from scfm_scverse.models.scbert.first_layer import EmptyCell
from scfm_scverse.tokens import Tokens

from .conftest import WHERE, Golden

NEAR = {"rtol": 0, "atol": 2e-5}


def all_positions(tokens: Tokens, n_positions: int) -> torch.Tensor:
    """Tokens as the network takes them where gradients are wanted, [b, t]."""
    out = torch.zeros(len(tokens), n_positions, dtype=torch.int64)
    cells = np.repeat(np.arange(len(tokens)), tokens.lengths)
    out[cells, tokens.ids] = torch.from_numpy(tokens.values).long()
    return out


@pytest.mark.parametrize("mode", ["default", "original"])
def test_tokens_are_the_originals(golden: Golden, mode: str) -> None:
    model, expected = golden.load(mode=mode), golden.arrays("inputs")["tokens"]
    np.testing.assert_array_equal(all_positions(golden.tokens(model), expected.shape[1]).numpy(), expected)


def test_logits_of_single_cells_are_the_originals_at_any_minibatch_size(golden: Golden) -> None:
    model = golden.load()
    tokens, expected = golden.tokens(model), golden.arrays("forward")["logits_batch_of_one"]
    for cells in ([[0], [5], [-1]], np.array_split(np.arange(len(tokens)), 4), [np.arange(len(tokens))]):
        for some in (np.arange(len(tokens))[part] for part in cells):
            found = model.logits(tokens.take(some), **WHERE)
            np.testing.assert_allclose(found, expected[some], **NEAR)


def test_logits_of_a_minibatch_are_the_originals_in_its_mode(golden: Golden) -> None:
    stored = golden.arrays("forward")
    for mode, expected in (
        ("original", stored["logits_batch_of_four"]),
        ("default", stored["logits_batch_of_one"][stored["batch_rows"]]),
    ):
        model = golden.load(mode=mode)
        found = model.logits(golden.tokens(model, stored["batch_rows"]), **WHERE)
        np.testing.assert_allclose(found, expected, **NEAR)


def test_encodings_are_the_originals_and_pooled_as_asked(golden: Golden) -> None:
    model, expected = golden.load(), golden.arrays("forward")["encodings_batch_of_one_first6"]
    tokens = golden.tokens(model, np.arange(6))
    both = model.encode(tokens, Wanted(outputs=frozenset({"cell", "gene"})), **WHERE)
    assert both.gene is not None
    np.testing.assert_allclose(both.gene.values.view(6, -1, model.spec.dim), expected[:, :-1], **NEAR)
    np.testing.assert_array_equal(both.gene.cell, np.repeat(np.arange(6), expected.shape[1] - 1))
    np.testing.assert_array_equal(both.gene.gene, np.tile(np.arange(expected.shape[1] - 1), 6))
    np.testing.assert_allclose(both.cell, expected.mean(1), **NEAR)
    for outputs in ({"cell"}, {"cell", "gene"}):
        last = model.encode(tokens, Wanted(outputs=frozenset(outputs), pooling="last"), **WHERE)
        np.testing.assert_allclose(last.cell, expected[:, -1], **NEAR)


def test_hidden_states_are_the_originals(golden: Golden) -> None:
    model, stored = golden.load(), golden.arrays("forward")
    tokens, layers = golden.tokens(model, [0]), model.network.performer.layers
    with torch.inference_mode():
        x = model.network.embed(all_positions(tokens, len(model.spec.genes)))
        for i, layer in enumerate(layers):
            for half, name in ((layer.attend, "attn"), (layer.feed, "ff")):
                np.testing.assert_allclose(x[0], stored[f"hidden0_{name}{i}_in"], **NEAR)
                before, x = x, half(x)
                np.testing.assert_allclose((x - before)[0], stored[f"hidden0_{name}{i}_out"], **NEAR)
        np.testing.assert_allclose(x[0], stored["hidden0_norm_in"], **NEAR)
        np.testing.assert_allclose(model.network.norm(x)[0], stored["hidden0_norm_out"], **NEAR)


@pytest.mark.parametrize("pooling", ["mean", "last"])
def test_every_layer_can_be_read(golden: Golden, pooling: str) -> None:
    model = golden.load()
    tokens = golden.tokens(model, [3, 8])
    x = model.network.embed(all_positions(tokens, len(model.spec.genes)))
    n = model.spec.n_layers
    for n_run in range(n + 1):
        x = model.network.performer.layers[n_run - 1](x) if n_run else x
        rows = (model.network.norm(x) if n_run == n else x).detach()
        found = model.encode(tokens, Wanted(layer=n_run - n - 1, pooling=pooling), **WHERE).cell
        np.testing.assert_allclose(found, rows.mean(1) if pooling == "mean" else rows[:, -1], **NEAR)


def test_path_with_gradients_gives_the_same_logits(golden: Golden) -> None:
    model = golden.load()
    tokens = golden.tokens(model)
    found = model.network(all_positions(tokens, len(model.spec.genes))).detach()
    np.testing.assert_allclose(found, model.logits(tokens, **WHERE), **NEAR)


def test_shared_first_layer_gives_what_each_cell_gives_alone(golden: Golden) -> None:
    model = golden.load()
    network, tokens = model.network, golden.tokens(model)
    # The largest key is the product of a zero gene in some cells, and gone from others, where the sums are made anew.
    with torch.inference_mode():
        for strength in (1.0, 8.0):
            network.gene_emb[7] *= strength
            x, sums = EmptyCell.of(network).fill(network, tokens)
            torch.testing.assert_close(x, network.embed(all_positions(tokens, len(model.spec.genes))))
            for cell, found in zip(x, sums, strict=True):
                alone = network.performer.layers[0].sum_keys(cell)
                torch.testing.assert_close(found.table(), alone.table(), rtol=1e-4, atol=1e-4)
                torch.testing.assert_close(found.largest, alone.largest, rtol=1e-5, atol=1e-5)


def test_bfloat16_stays_near_float32(golden: Golden) -> None:
    model = golden.load()
    tokens = golden.tokens(model)
    exact, short = (
        model.encode(tokens, Wanted(), device=torch.device("cpu"), dtype=dtype).cell
        for dtype in (torch.float32, torch.bfloat16)
    )
    assert float(torch.cosine_similarity(exact, short.float()).min()) > 0.999


@pytest.mark.parametrize(("mode", "columns"), [("default", [0, 0]), ("original", [0, -1])])
def test_columns_of_one_gene_are_added_or_the_first_counts(golden: Golden, mode: str, columns: list[int]) -> None:
    from scfm_scverse.genes import resolve_genes

    model = golden.load(mode=mode)
    name = model.spec.genes[0]
    assert model.positions(resolve_genes([name, name], organism="human"), None).tolist() == columns
